"""Digests of what Universal computes with posits. Run: python make_universal.py PATH_TO_CLONE_OF_UNIVERSAL > universal.json

The clone (github.com/stillwater-sc/universal, MIT licence) is only read; universal.cpp, beside this file, is compiled against
its headers with g++. universal.json keeps for every section of what that program prints the SHA-256 of its lines.
"""
import hashlib, json, pathlib, subprocess, sys, tempfile

repo, here = sys.argv[1], pathlib.Path(__file__).parent
git = lambda *arguments: subprocess.run(["git", "-C", repo, *arguments], capture_output=True, check=False).stdout
with tempfile.TemporaryDirectory() as folder:
    subprocess.run(["tar", "-x", "-C", folder], input=git("archive", "HEAD", "include/sw"), check=True)
    program = f"{folder}/universal"
    subprocess.run(["g++", "-std=c++20", "-O1", "-w", f"-I{folder}/include/sw", here / "universal.cpp", "-o", program], check=True)
    lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
sections, i = {}, 0
names = ("values", "codes", "+", "-", "*", "/", "sqrt")
while i < len(lines):
    name, i = f"{lines[i]} {lines[i + 1]}", i + 2
    start = i
    while i < len(lines) and lines[i] not in names: i += 1
    sections[name] = {"lines": i - start, "sha256": hashlib.sha256("\n".join(lines[start:i]).encode()).hexdigest()}
commit = git("log", "-1", "--format=%H %cs").decode().strip()
json.dump({"versions": {"universal": commit, "compiler": compiler}, "sections": sections}, sys.stdout, indent=1)
