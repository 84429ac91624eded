"""All tasks of the bank."""

from __future__ import annotations

from fnmatch import fnmatch

from bank.emoji import emoji_tasks
from bank.icons import icon_tasks
from bank.photos import photo_tasks
from bank.scripts import script_tasks
from bank.styles import style_tasks
from bank.task import Task


def all_tasks(only: str = "*") -> dict[str, Task]:
    """Tasks by name, in the order they are laid out; ``only`` is a glob, or several with commas."""
    tasks = (*photo_tasks(), *emoji_tasks(), *icon_tasks(), *script_tasks(), *style_tasks())
    patterns = only.split(",")
    return {task.name: task for task in tasks if any(fnmatch(task.name, pattern) for pattern in patterns)}
