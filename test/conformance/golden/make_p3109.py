"""Digests of the IEEE P3109 value tables. Run: python make_p3109.py PATH_TO_CLONE_OF_P3109_PUBLIC

The tables (github.com/P3109/Public, "Value Tables/Hexadecimal", commit 26df0d0, 28 June 2026) hold every code of every
format of K = 3..16. p3109.json keeps for each format the SHA-256 of the lines "sign significand exponent", significand odd
(or 0), joined by newlines in code order, with inf, -inf and nan in place of numbers.
"""
import csv, hashlib, io, json, re, subprocess, sys

repo = sys.argv[1]
names = subprocess.run(["git", "-C", repo, "ls-tree", "-r", "--name-only", "HEAD", "Value Tables/Hexadecimal"], capture_output=True, text=True, check=True).stdout.split("\n")
names = [n.strip('"') for n in names if n.strip('"').endswith(".csv")]

def line(text):
    text = text.strip()
    if text in ("Inf", "-Inf", "NaN"): return text.lower()
    sign, whole, fraction, power = re.fullmatch(r"(-?)0x([0-9a-f]+)\.?([0-9a-f]*)p([+-]?\d+)", text.lower()).groups()
    significand, exponent = int(whole + fraction, 16), int(power) - 4 * len(fraction)
    if significand == 0: return f"{'-' if sign else '+'} 0 0"
    while significand % 2 == 0: significand, exponent = significand // 2, exponent + 1
    return f"{'-' if sign else '+'} {significand} {exponent}"

result = {}
for n in names:
    text = subprocess.run(["git", "-C", repo, "show", "HEAD:" + n], capture_output=True, text=True, check=True).stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(r["codepoint"], 16) for r in rows] == list(range(len(rows))), n
    result[n.split("/")[-1].removesuffix(".csv")] = hashlib.sha256("\n".join(line(r["value"]) for r in rows).encode()).hexdigest()[:32]
with open("p3109.json", "w") as f: json.dump(result, f, indent=0)
print(len(result))
