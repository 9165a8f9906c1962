"""Packs the Python package: python wheel.py BUILD OUT

The wheel holds the package, libingot and the program, stripped, and oneDNN, which libingot opens by its name at run time. What these need and a Linux
of the wheel's tag may lack is added by auditwheel, which also says the tag: the oldest glibc that the symbols in use allow. The same files give the
same bytes."""
from __future__ import annotations

import base64
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
BROUGHT_ALONG = ("libdnnl[23]", "libgomp1", "libprotobuf-c1", "ocl-icd-libopencl1")
LARGEST = 25_000_000
METADATA = """Metadata-Version: 2.1
Name: ingot
Version: {version}
Summary: Casts ONNX models into engines and runs them on NVIDIA GPUs and CPUs
License: Apache-2.0
Requires-Python: >=3.9
Provides-Extra: numpy
Requires-Dist: numpy; extra == "numpy"
Classifier: License :: OSI Approved :: Apache Software License
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: Python :: 3
Classifier: Typing :: Typed
Description-Content-Type: text/markdown

{description}"""
WHEEL = "Wheel-Version: 1.0\nGenerator: ingot\nRoot-Is-Purelib: false\nTag: py3-none-linux_x86_64\n"
ENTRY_POINTS = "[console_scripts]\ningot = ingot.__main__:main\n"


def run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout


def onednn() -> str:
    """The loader's oneDNN."""
    for line in run("/sbin/ldconfig", "-p").splitlines():
        if line.split()[:1] in (["libdnnl.so.3"], ["libdnnl.so.2"]):
            return line.split()[-1]
    raise SystemExit("wheel.py: this system has no oneDNN, which the wheel brings along: ./dev setup")


def binary(source: str, to: str, rpath: str) -> None:
    os.makedirs(os.path.dirname(to), exist_ok=True)
    shutil.copyfile(os.path.realpath(source), to)
    os.chmod(to, 0o755)
    run("strip", "--strip-unneeded", to)
    run("patchelf", "--set-rpath", rpath, to)


def stage(build: str, folder: str) -> str:
    """Lays the files of the wheel out; gives the version."""
    version = run(os.path.join(build, "ingot"), "--version").split()[-1]
    package = os.path.join(folder, "ingot")
    shutil.copytree(os.path.join(HERE, "ingot"), package, ignore=shutil.ignore_patterns("__pycache__"))
    binary(os.path.join(build, "libingot.so"), os.path.join(package, "lib", "libingot.so"), "$ORIGIN")
    library = onednn()
    binary(library, os.path.join(package, "lib", os.path.basename(library)), "$ORIGIN")
    binary(os.path.join(build, "ingot"), os.path.join(package, "bin", "ingot"), "$ORIGIN/../lib")
    info = os.path.join(folder, "ingot-%s.dist-info" % version)
    os.makedirs(info)
    shutil.copyfile(os.path.join(HERE, "..", "LICENSE"), os.path.join(info, "LICENSE"))
    licences(os.path.join(info, "licenses"))
    with open(os.path.join(HERE, "README.md"), encoding="utf-8") as file:
        description = file.read()
    for name, text in (("METADATA", METADATA.format(version=version, description=description)), ("WHEEL", WHEEL), ("entry_points.txt", ENTRY_POINTS)):
        with open(os.path.join(info, name), "w", encoding="utf-8") as file:
            file.write(text)
    return version


def licences(folder: str) -> None:
    """Those of the libraries that come along, as Debian keeps them."""
    os.makedirs(folder)
    for name in BROUGHT_ALONG:
        for path in glob.glob("/usr/share/doc/%s/copyright" % name):
            shutil.copyfile(path, os.path.join(folder, os.path.basename(os.path.dirname(path)) + ".txt"))
    if not glob.glob(os.path.join(folder, "libdnnl*")):
        raise SystemExit("wheel.py: oneDNN has no licence under /usr/share/doc")


def pack(folder: str, version: str, out: str) -> str:
    """The folder as a wheel."""
    path = os.path.join(out, "ingot-%s-py3-none-linux_x86_64.whl" % version)
    record = "ingot-%s.dist-info/RECORD" % version
    rows = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(os.path.relpath(os.path.join(base, file), folder) for base, _, files in os.walk(folder) for file in files):
            with open(os.path.join(folder, name), "rb") as file:
                data = file.read()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append("%s,sha256=%s,%d" % (name, digest, len(data)))
            add(archive, name, data, 0o755 if os.access(os.path.join(folder, name), os.X_OK) else 0o644)
        add(archive, record, ("\n".join(rows + [record + ",,", ""])).encode(), 0o644)
    return path


def add(archive: zipfile.ZipFile, name: str, data: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = (0o100000 | mode) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data, compresslevel=9)


def main(build: str, out: str) -> None:
    shutil.rmtree(out, ignore_errors=True)
    folder = os.path.join(out, "stage")
    os.makedirs(folder)
    bare = pack(folder, stage(build, folder), out)
    os.environ["SOURCE_DATE_EPOCH"] = "315532800"  # the year 1980, with which a zip archive's time begins
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", out, bare)
    os.remove(bare)
    (wheel,) = glob.glob(os.path.join(out, "*.whl"))
    print(run(sys.executable, "-m", "auditwheel", "show", wheel).strip())
    size = os.path.getsize(wheel)
    print("%s: %.1f MB" % (wheel, size / 1e6))
    if size > LARGEST:
        raise SystemExit("wheel.py: the wheel is larger than %.1f MB" % (LARGEST / 1e6))


if __name__ == "__main__":
    main(*sys.argv[1:])
