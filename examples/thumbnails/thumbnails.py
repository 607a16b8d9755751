# %% [markdown]
# # Thumbnails
#
# A folder of pictures, a small one of each. The workers need not see the folder: bytes go there, and bytes come back.

# %%
import io
import os
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

from taskyard import Cluster, LocalCluster, as_completed

LONGEST_SIDE = 160

# %% [markdown]
# PICTURES names your folder. Without it we paint some, as they come from cameras and from other programs: large, on their
# side, with transparency; and two files that are no whole pictures, as there always are.


# %%
def paint(folder: Path, count: int = 24) -> None:
    """Write that many pictures, and two broken ones."""
    for number in range(count):
        light, waves = Image.linear_gradient("L").rotate(15 * number), Image.radial_gradient("L")
        picture = Image.merge("RGB", (light, waves, ImageOps.invert(light))).resize((1600, 1200))
        if number % 3 == 0:
            picture.putalpha(waves.resize(picture.size))
            picture.save(folder / f"drawing-{number:02}.png", compress_level=1)
        else:
            orientation = Image.Exif()
            orientation[0x0112] = 6 if number % 2 else 1  # 6: the camera was held upright
            picture.save(folder / f"photo-{number:02}.jpg", exif=orientation)
    whole = (folder / "photo-01.jpg").read_bytes()
    (folder / "half-a-photo.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "no-photo.jpg").write_text("Dear diary")


if "PICTURES" in os.environ:
    folder = Path(os.environ["PICTURES"]).expanduser()
else:
    folder = Path(tempfile.mkdtemp(prefix="pictures-"))
    paint(folder)
pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))

# %% [markdown]
# What the workers do. Nothing in it knows of them, so it can be tried here first.


# %%
def thumbnail(data: bytes, longest_side: int) -> bytes:
    """A small upright JPEG of a picture. Raises OSError when Pillow can't read it."""
    with Image.open(io.BytesIO(data)) as picture:
        small = ImageOps.exif_transpose(picture)
        small.thumbnail((longest_side, longest_side))
        written = io.BytesIO()
        small.convert("RGB").save(written, "JPEG")
        return written.getvalue()


# %% [markdown]
# TASKYARD_URL names a cluster that is there already. Without it, one of two workers starts here. On a terminal a bar shows
# how far it is. What a broken picture raises on its worker is in its own future, and the others go on.

# %%
cluster = Cluster() if "TASKYARD_URL" in os.environ else LocalCluster(workers=2, log_level="error")
thumbnails = folder / "thumbnails"
thumbnails.mkdir(exist_ok=True)
futures = {cluster.submit(thumbnail, path.read_bytes(), LONGEST_SIDE): path for path in pictures}
broken: dict[str, BaseException] = {}
for future in as_completed(futures, description="thumbnails"):
    path = futures[future]
    error = future.exception()
    if error is None:
        (thumbnails / f"{path.name}.jpg").write_bytes(future.result())
    else:
        broken[path.name] = error

# %%
for name, error in sorted(broken.items()):
    print(f"broken: {name}: {type(error).__name__}: {error}")
print(f"{len(pictures)} pictures: {len(pictures) - len(broken)} thumbnails in {thumbnails}, {len(broken)} broken")

# %% [markdown]
# The workers end with the cluster that was started here; one that was there already goes on.

# %%
cluster.shutdown()
