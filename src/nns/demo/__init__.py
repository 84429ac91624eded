"""The demo: the whole way on real images, from zoo to fine-tuned network."""

from nns.demo.running import DemoReport, DemoRun, DemoSettings, run_demo

__all__ = ["DemoReport", "DemoRun", "DemoSettings", "run_demo"]
