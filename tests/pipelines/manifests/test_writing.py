from __future__ import annotations

import numpy as np
import pytest

from tdn.errors import UserError
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.manifests.writing import write_manifest
from tests.permissions import bound_by_permissions


def test_every_folder_may_name_its_pictures_in_its_own_way(tmp_path):
    rows = 40_000
    columns = {
        "path": [f"v{row}" for row in range(rows)],
        "template": [f"v{row}_{{:05d}}.jpg" for row in range(rows)],
        "frames": np.ones(rows, np.int32),
    }
    write_manifest(tmp_path / "m.arrow", columns, "list.txt", tmp_path)
    assert Manifest(tmp_path / "m.arrow").clip(rows - 1).template == "v39999_{:05d}.jpg"


def test_what_is_already_so_is_left_alone_even_where_nothing_can_be_written(public_folder):
    file = public_folder / "m.arrow"
    columns = {"path": ["a"], "frames": [3]}
    write_manifest(file, columns, public_folder / "list.txt", public_folder, ("a", "b"))
    public_folder.chmod(0o555)
    with bound_by_permissions():
        write_manifest(file, columns, public_folder / "list.txt", public_folder, ("a", "b"))
        for other, classes in ((columns, ("a", "c")), ({**columns, "frames": [4]}, ("a", "b"))):
            with pytest.raises(UserError, match=r"m\.arrow: cannot be written"):
                write_manifest(file, other, public_folder / "list.txt", public_folder, classes)
    assert [path.name for path in public_folder.iterdir()] == ["m.arrow"]
