"""The zip depends only on its content, and a program is checked before it is packed."""

import os
import struct
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

import context  # noqa: F401
from archive import BadProgram, check_machine, needed_glibc, pack


def header(machine):
    """Returns the header of a program for Linux, with no sections."""
    ident = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    return ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)


class Archive(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.folder = Path(made.name)

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def test_the_same_program_gives_the_same_zip_whatever_its_time_name_and_mode(self):
        first, second = self.file("bootstrap", b"program" * 1000), self.file("other", b"program" * 1000)
        os.utime(second, (0, 0))
        second.chmod(0o600)
        for program, archive in [(first, "1.zip"), (second, "2.zip")]:
            pack(program, self.folder / archive)
        self.assertEqual((self.folder / "1.zip").read_bytes(), (self.folder / "2.zip").read_bytes())
        pack(self.file("changed", b"Program" * 1000), self.folder / "3.zip")
        self.assertNotEqual((self.folder / "1.zip").read_bytes(), (self.folder / "3.zip").read_bytes())

    def test_lambda_finds_an_executable_named_bootstrap(self):
        pack(self.file("program", b"program"), self.folder / "code.zip")
        with zipfile.ZipFile(self.folder / "code.zip") as packed:
            (entry,) = packed.infolist()
            self.assertEqual((entry.filename, entry.external_attr >> 16), ("bootstrap", 0o100755))
            self.assertEqual(packed.read(entry), b"program")

    def test_a_program_for_another_processor_is_refused(self):
        for machine, architecture, fits in [(62, "x86_64", True), (183, "arm64", True), (183, "x86_64", False),
                                            (62, "arm64", False), (3, "x86_64", False)]:
            program = self.file("program", header(machine))
            if fits:
                check_machine(program, architecture)
            else:
                with self.assertRaisesRegex(BadProgram, f"not for {architecture}"):
                    check_machine(program, architecture)

    def test_what_is_no_program_is_refused(self):
        for content in (b"", b"#!/bin/sh\n", header(62)[:20]):
            with self.assertRaises(BadProgram):
                check_machine(self.file("program", content), "x86_64")
        with self.assertRaisesRegex(BadProgram, "no version of glibc"):
            needed_glibc(self.file("program", header(62)))

    def test_the_needed_glibc_is_the_newest_of_all_symbols(self):
        found = needed_glibc(Path(sys.executable).resolve())
        self.assertGreater(found, (2, 2))
        self.assertLess(found, (3, 0))


if __name__ == "__main__":
    unittest.main()
