"""Latency, memory and energy: a fresh worker process for each model, given a specification, not a function."""

from distill.measure.energy import EnergyMeter
from distill.measure.launch import measure, not_measured
from distill.measure.processor import machine, versions
from distill.measure.specification import Specification
from distill.runtime.processor import int8_flags

__all__ = ["EnergyMeter", "Specification", "int8_flags", "machine", "measure", "not_measured", "versions"]
