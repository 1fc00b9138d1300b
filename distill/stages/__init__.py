"""The stages of the main job, and the artifacts they leave."""
