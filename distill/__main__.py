"""``python -m distill``: the commands, also under launchers of several processes."""

from distill.cli import run

if __name__ == "__main__":
    run()
