"""What lies in a folder of images and is none of them: by name, and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from nns.data.items import Skipped
from nns.untrusted import IMAGE, open_file

_IMAGES = (
    ".png .apng .jpg .jpeg .jpe .jfif .jif .pjpeg .pjp .mpo .bmp .dib .gif .webp .tif .tiff .avif .avifs "
    ".ppm .pgm .pbm .pnm .pfm .jp2 .j2k .jpc .jpf .jpx .j2c .tga .qoi .pcx .ico"
)
IMAGE_EXTENSIONS = frozenset(_IMAGES.split())
"""File names that end so are images; the case of letters does not matter."""

_CAMERA_RAW = ".raw .dng .cr2 .cr3 .crw .nef .nrw .arw .srf .orf .rw2 .raf .pef .srw .x3f"
_NOT_READ = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **dict.fromkeys((".jxl", ".jxr", ".wdp", ".hdp"), "JPEG XL or XR"),
    **dict.fromkeys((".svg", ".svgz", ".eps", ".ai", ".wmf", ".emf", ".pdf"), "a drawing or document"),
    **dict.fromkeys(_CAMERA_RAW.split(), "camera raw"),
    **dict.fromkeys((".dcm", ".dicom", ".nii", ".mha", ".mhd", ".nrrd"), "a medical image"),
    **dict.fromkeys((".exr", ".hdr", ".fits", ".fit"), "a scientific image"),
    **dict.fromkeys((".psd", ".psb", ".xcf", ".kra"), "a file of an image editor"),
    **dict.fromkeys((".npy", ".npz", ".mat", ".tfrecord", ".parquet"), "an array"),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".m4v"), "a film"),
    **dict.fromkeys(
        (".dds", ".sgi", ".rgb", ".bw", ".ras", ".xbm", ".xpm", ".icns", ".cur", ".djvu"), "of a rare format"
    ),
}
"""Names that may well be of images, but of files that nns does not read."""

NOT_AN_IMAGE = "not an image"
UNNAMED_IMAGE = "an image, but not named like one"
NOT_READ = "cannot be read"
SYSTEM_FOLDER = "a folder of the system or of a tool"
OWN_OUTPUT = "a network that nns wrote"
NO_IMAGES = "a folder without images"
EXPECTED = frozenset({NOT_AN_IMAGE, SYSTEM_FOLDER, OWN_OUTPUT, NO_IMAGES})
"""Reasons that are no reason to worry."""

_BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_SYSTEM_FOLDERS = frozenset(
    {
        "__macosx", "lost+found", "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot",
        "$recycle.bin", "recycler", "system volume information", "found.000", "__pycache__", "node_modules",
        "network trash folder", "temporary items",
        ".ipynb_checkpoints", ".git", ".svn", ".hg", ".dvc", ".cache", ".thumbs", ".thumbnails", ".appledouble",
        ".trash", ".trashes", ".spotlight-v100", ".fseventsd", ".idea", ".vscode", ".venv", ".tox", ".snapshots",
    }
)  # fmt: skip
_NETWORK = ("card.json", "model.safetensors")  # what the folder of a fine-tuned network has, see nns.finetuning


def why_no_image(name: str) -> str | None:
    """Say why a file of that name is no image; None: it is one."""
    extension = os.path.splitext(name)[1].lower()
    if extension in IMAGE_EXTENSIONS:
        return None
    kind = _NOT_READ.get(extension)
    return f"{extension} is {kind}, which {NOT_READ}" if kind else NOT_AN_IMAGE


def looks_like_image(path: Path) -> bool:
    """Return whether a file begins like an image of a common format."""
    try:
        with open_file(path, IMAGE) as file:
            return file.read(12).startswith(_BEGINNINGS)
    except OSError:
        return False


def holds_images(folder: Path) -> bool:
    """Return whether there are images right in a folder, by their names."""
    try:
        return any(why_no_image(name) is None for name in os.listdir(folder))
    except OSError:
        return False


def why_no_folder(path: Path) -> str | None:
    """Say why a folder holds no images of anybody's; None: it may."""
    if path.name.lower() in _SYSTEM_FOLDERS:
        return SYSTEM_FOLDER
    return OWN_OUTPUT if all((path / name).is_file() for name in _NETWORK) else None


def is_not_read(skipped: Skipped) -> bool:
    """Return whether something was left out that may be an image, of a format that is not read."""
    return NOT_READ in skipped.reason


def by_reason(counts: Mapping[str, int]) -> str:
    """Write what was left out: ``3 (not an image), 2 (.heic is HEIC, which cannot be read)``."""
    return ", ".join(f"{count} ({reason})" for reason, count in counts.items())


def reasons(skipped: Iterable[Skipped]) -> dict[str, int]:
    """Count what was left out by the reason, most first."""
    return dict(Counter(each.reason for each in skipped).most_common())
