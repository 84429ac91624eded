"""The demo: from two folders of images to fine-tuned networks, by the zoo that is installed."""

from nns.demo.running import DemoReport, DemoRun, DemoSettings, DemoTask, run_demo

__all__ = ["DemoReport", "DemoRun", "DemoSettings", "DemoTask", "run_demo"]
