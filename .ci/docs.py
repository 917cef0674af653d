"""README.md and the site, both from the notebooks: `python .ci/docs.py [--readme] [--check] [--out _docs]`.

--readme writes README.md from nbs/index.ipynb and stops there; --check says whether the README on disk is
that one. The site goes through nbdev's own processing (it runs imports, exports and show_doc, nothing else)
and is rendered by Quarto where it is installed, else by smalldocs. Nothing is downloaded, and no page asks
another host for a part of it: formulas become MathML (latex2mathml), letters are set in the fonts of the
reader's system. nbdev_readme, nbdev_docs and nbdev_proc_nbs are not used: they install Quarto and write a
second nbs/_quarto.yml.
"""

import argparse
import ast
import html
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import yaml
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[1]
PROC = ROOT / "_proc"
NOTE = "<!-- Made from nbs/index.ipynb by `python .ci/docs.py --readme`; edit the notebook. -->\n"
QUIET = " 2>/dev/null | cat"  # keeps the progress bar out of a stored output, and out of the page
EMPTY = "*Call self as a function.*"  # what show_doc says of a function without a docstring
NUMBER = re.compile(r"^\d+[a-z]*_")
OWN = (
    "comparison.",
    "bench.",
    "cli.",
)  # their names are everyday words, such as `predict`: links from other chapters would mislead
FORMULA = re.compile(r'<span class="math (inline|display)">\\[(\[](.+?)\\[)\]]</span>', re.S)
TYPESETTER = re.compile(
    r"<(?:link|script)\b[^>]*//[^>]*/(?:katex|mathjax|polyfill)[^>]*>(?:</script>)?"
)  # of smalldocs, and of Quarto
FONTS = re.compile(r"@import url\([\"']?(?:https?:)?//[^)]*\);")
LONG_NAME = re.compile(
    r"(?<=<code>)[\w.:]{30,}(?=</code>)|(?<=>)(?:\w{9,}(?=</th>)|[0-9a-f]{32}(?=</td>))"
)  # in a text, of a column, of a run
MAY_BREAK = re.compile(r"(?<=\w)(?=_)|(?<=::)|(?<=[a-z])(?=[A-Z])|(?<=^[0-9a-f]{16})(?=[0-9a-f]{16}$)")
SVG_ALT = re.compile(r'<svg alt="[^"]*"(?= role="img")')  # of smalldocs; an svg has no such attribute
OUTPUT = re.compile(
    r'(<div class="cell-output[^"]*)"[^>]*>\s*<pre[^>]*><code[^>]*>([^<]*)'
)  # what a cell printed; a table of ours has a rule
LINK = re.compile(r"(\]\(|src=\"|href=\")(?![a-z]+:|#|/)([^)\s\"]+)")


class DocsError(Exception):
    "Something in the notebooks or the site is wrong; the message says what"


# ---- README


def readme():
    "The README's text"
    cells = json.loads((ROOT / "nbs/index.ipynb").read_text(encoding="utf-8"))["cells"]
    return NOTE + "\n" + "\n\n".join(t for c in cells if (t := cell_markdown(c))) + "\n"


def check_readme():
    "The README on disk must be the one that the notebook makes"
    if (ROOT / "README.md").read_text(encoding="utf-8") != readme():
        raise DocsError("README.md differs from nbs/index.ipynb: run `python .ci/docs.py --readme`.")


def cell_markdown(cell):
    "One cell as Markdown: prose with links as seen from the root, code in a fence, then what it printed"
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return LINK.sub(from_root, source).strip()
    directives, code = split_directives(source)
    if cell["cell_type"] != "code" or "hide" in directives or not code:
        return ""
    lang, code = ("sh", code[1:].removesuffix(QUIET)) if code.startswith("!") else ("python", code)
    return "\n\n".join([f"```{lang}\n{code}\n```", *results(cell["outputs"])])


def from_root(match):
    "A link written in nbs/ as it must read one folder up"
    return match[1] + posixpath.normpath(posixpath.join("nbs", match[2]))


def split_directives(source):
    "The words after `#|` at the top of a cell, and the code below them"
    lines = source.strip().splitlines()
    n = next((i for i, line in enumerate(lines) if not line.startswith("#|")), len(lines))
    return " ".join(lines[:n]).split(), "\n".join(lines[n:]).strip()


def results(outputs):
    "What a cell printed, then what it displayed; messages on stderr stay out"
    printed = "".join("".join(o["text"]) for o in outputs if o.get("name") == "stdout")
    shown = [o["data"] for o in outputs if "data" in o]
    if printed.strip():
        yield fence(printed)
    for data in shown:
        yield (
            "".join(data["text/markdown"]).strip()
            if "text/markdown" in data
            else fence("".join(data["text/plain"]))
        )


def fence(text):
    "Text as a block of its own"
    return "\n".join(["```text", *(line.rstrip() for line in text.rstrip().splitlines()), "```"])


# ---- pages


def process():
    "Fill _proc: notebooks processed by nbdev and renamed, files they link to, _quarto.yml, list of names"
    from nbdev.serve import proc_nbs

    if PROC.exists():
        shutil.rmtree(PROC)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "nbs", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        for path in Path(folder).glob("*.ipynb"):
            show_source(path)
        proc_nbs(folder, force=True)
    for path in sorted(PROC.glob("*.ipynb")):
        finish(path)
    for path in guides():
        carry(path)
    if (ROOT / "nbs" / "images").is_dir():
        shutil.copytree(ROOT / "nbs" / "images", PROC / "images", dirs_exist_ok=True)
    shutil.copy(ROOT / "_quarto.yml", PROC)
    (PROC / "api.md").write_text(api_page(), encoding="utf-8")


def guides():
    "The pages that are not notebooks, as paths from the root"
    return [Path("CONTRIBUTING.md"), *sorted(path.relative_to(ROOT) for path in ROOT.glob("howto/*.md"))]


def carry(path):
    "Copy a page, its links to chapters turned to the pages that are made of them"
    text = LINK.sub(guide_link, (ROOT / path).read_text(encoding="utf-8").replace(site_url(), ""))
    (PROC / path).parent.mkdir(exist_ok=True)
    (PROC / path).write_text(text, encoding="utf-8")


def guide_link(match):
    "A link to a notebook in nbs/, or to a heading of it, as a link to its page; any other as it is"
    up, _, chapter = match[2].rpartition("nbs/")
    return match[1] + (
        up + NUMBER.sub("", chapter) if chapter.partition("#")[0].endswith(".ipynb") else match[2]
    )


def show_source(path):
    "Show `export` cells, which nbdev leaves out, folded where show_doc gives the signature; fold imports"
    nb = json.loads(path.read_text(encoding="utf-8"))
    for cell in nb["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        if not source.startswith(("#|", "%", "!")) and source.strip() and not no_imports(source):
            cell["source"] = "#| code-fold: true\n#| code-summary: Imports\n" + source
        if re.match(r"#\| export\n", source) and (body := no_imports(source)):
            public = any(not getattr(node, "name", "_").startswith("_") for node in body)
            cell["source"] = source.replace("#| export", "#| exports" + "\n#| code-fold: true" * public, 1)
    path.write_text(json.dumps(nb), encoding="utf-8")


def no_imports(source):
    "The statements of a cell that are not imports"
    return [node for node in ast.parse(source).body if not isinstance(node, (ast.Import, ast.ImportFrom))]


def finish(path):
    "Refuse a stored error, show commands as one types them, mend links, take the number off the name"
    nb, page = json.loads(path.read_text(encoding="utf-8")), path.with_name(NUMBER.sub("", path.name))
    for n, cell in enumerate(nb["cells"]):
        if any(o["output_type"] == "error" for o in cell.get("outputs", [])):
            raise DocsError(
                f"nbs/{path.name}: a cell ended in an error, run it again: {''.join(cell['source'])[:60]!r}"
            )
        if cell["cell_type"] == "code" and (code := split_directives("".join(cell["source"]))[1]).startswith(
            "!"
        ):
            cell["source"] = code[1:].removesuffix(QUIET)
        if "#| code-fold: true" in cell["source"]:
            cell["source"] = cell["source"].replace("#| code-fold: show\n", "")
        if cell["cell_type"] == "raw":
            cell["source"] = re.sub(r"^output-file:.*\n", "", "".join(cell["source"]), flags=re.M)
        if cell["cell_type"] == "markdown":
            cell["source"] = site_links("".join(cell["source"]), page.stem)
        for output in cell.get("outputs", []):
            if figure := output.get("data", {}).get("image/svg+xml"):
                output["data"]["image/svg+xml"] = apart(
                    named("".join(figure), "".join(cell["source"]), path.name), n
                )
            if text := output.get("data", {}).get("text/markdown"):
                output["data"]["text/markdown"] = site_links(
                    said(sourced("".join(text), page.stem)), page.stem
                )
    path.unlink()
    page.write_text(json.dumps(nb), encoding="utf-8")


def named(figure, source, notebook):
    "A figure that tells those who cannot see it what it shows: the cell's `fig-alt`"
    found = re.search(r"^#\| *fig-alt: *(.+)$", source, re.M)
    if not found:
        raise DocsError(f"nbs/{notebook}: this cell draws a figure and has no fig-alt: {source[:60]!r}")
    label = html.escape(str(yaml.safe_load(found[1])))
    return figure[figure.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def apart(figure, n):
    "A figure whose ids are its own: matplotlib numbers the parts of each figure anew"
    return re.sub(r'( id="|href="#|url\(#)(?=\w)', rf"\1c{n}-", figure)


def sourced(text, page):
    "What show_doc writes, its source link led to this chapter's module: nbdev takes the first such name"
    from mlp_bench._modidx import d

    found, modules = (
        re.search(r"^#+ (\w+)$", text, re.M),
        [
            m
            for m, names in d["syms"].items()
            if any(link.startswith(page + ".html") for link, _ in names.values())
        ],
    )
    if not found or not modules:
        return text
    file = modules[0].replace(".", "/") + ".py"
    line = next(
        (
            n.lineno
            for n in ast.parse((ROOT / file).read_text(encoding="utf-8")).body
            if getattr(n, "name", "") == found[1]
        ),
        None,
    )
    return re.sub(r"mlp_bench/\w+\.py#L\d+", f"{file}#L{line}", text, count=1) if line else text


def said(text):
    "What show_doc writes of a function, with a remark or value where an empty phrase stood"
    found = re.search(r"mlp_bench/(\w+)\.py.*?^#+ (\w+)$", text, re.M | re.S)
    if found and found[1] == "cli" and found[2] in commands():
        return with_options(text, found[2])
    if not found or EMPTY not in text:
        return text
    line = dict(public(f"mlp_bench.{found[1]}")).get(found[2], "").replace("\\|", "|")
    return text.replace(EMPTY, line)


def commands():
    "The commands of the command line by name"
    import typer
    from mlp_bench.cli import app

    return typer.main.get_command(app).commands


def with_options(text, name):
    "What show_doc writes of a command, with its options as `--help` tells them in place of a signature"
    import typer

    command = commands()[name]
    told = (option.get_help_record(typer.Context(command)) for option in command.params)
    lines = [f"| `{option}` | {said} | {default} |" for option, said, default in map(option_cells, told)]
    usage = " ".join(["mlp_bench", name, *command.collect_usage_pieces(typer.Context(command))])
    text = re.sub(r"^```python\n.*?^```$", f"```text\n{usage}\n```", text, count=1, flags=re.M | re.S)
    return (
        text.rstrip()
        + "\n\n| Argument or option | What it is | Default |\n|---|---|---|\n"
        + "\n".join(lines)
        + "\n"
    )


def option_cells(told):
    "(option, help, default) of an option as Typer tells it; some defaults stand in round brackets there"
    said, _, rest = told[1].partition("  [")
    default = re.sub(r"^default: \(?|\)?\]$", "", rest)
    return tuple(cell.replace("|", "\\|") for cell in (told[0], said, default))


def site_links(text, page):
    "Links to our own site become relative, chapters lose their number, files above nbs/ come along"
    text = re.sub(
        r"\[\[(`[^`]+`)\]\([^)]*\)\]\(", r"[\1](", text.replace(site_url(), "")
    )  # nbdev links a name, even within a link
    text = LINK.sub(site_link, text)
    text = re.sub(r"\[(`[^`]+`)\]\((\w+\.html)#(\w+)\)", lambda match: place(match, page), text)
    text = re.sub(r"^(#+) __(\w+)__$", r"\1 \_\_\2\_\_", text, flags=re.M)  # a name, and not a bold one
    return re.sub(
        r"^#+ .*?$|^```.*?^```",
        lambda block: re.sub(r"\[(`[^`]+`)\]\(.*?\)", r"\1", block[0]),
        text,
        flags=re.M | re.S,
    )


def place(match, page):
    "A name with its link: to this chapter if it has it"
    from mlp_bench._modidx import d

    found = [
        link for names in d["syms"].values() for link, _ in names.values() if link.endswith("#" + match[3])
    ]
    found = [link for link in found if link.startswith(page + ".") or not link.startswith(OWN)]
    if match[3].startswith("_"):
        return f"[{match[1]}]({match[2]})"  # show_doc leaves private names out
    if not found:
        return match[1]
    return f"[{match[1]}]({min(found, key=lambda link: not link.startswith(page + '.'))})"


def site_url():
    "Where nbdev believes the site to be, with a slash at the end"
    ini = ConfigParser()
    ini.read(ROOT / "settings.ini", encoding="utf-8")
    return ini["DEFAULT"]["doc_host"] + ini["DEFAULT"]["doc_baseurl"] + "/"


def site_link(match):
    "One link, as the site needs it"
    target = match[2].removeprefix("../")
    if target != match[2] and (ROOT / target).is_file():
        (PROC / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / target, PROC / target)
    return match[1] + NUMBER.sub("", target)


def api_page():
    "Every public name with its first line and a link to its chapter: the package's own, then the modules'"
    from mlp_bench import _HOMES
    from mlp_bench._modidx import d

    book = [NUMBER.sub("", path.stem) for path in sorted((ROOT / "nbs").glob("*.ipynb"))]
    rows = {module: list(api_rows(module, names)) for module, names in d["syms"].items() if names}
    own = [row for module in rows for row in rows[module] if f"mlp_bench.{_HOMES.get(row[0])}" == module]
    own.append(
        (
            "compare",
            "compare.html",
            "The module of this name, which can be called: train, compare and show in one notebook cell",
        )
    )
    parts = [
        "---\ntitle: API reference\ndescription: Every public name, and the chapter that builds it.\n---\n",
        "What one needs first can be had from the package itself, as in `from mlp_bench import load`. "
        "Everything else has its module, in the order of the book.\n",
        api_table("mlp_bench", sorted(own, key=lambda row: row[0].lower())),
    ]
    for module in sorted(rows, key=lambda module: book.index(rows[module][0][1].partition(".")[0])):
        parts.append(api_table(module, rows[module]))
    return "\n".join(parts)


def api_rows(module, names):
    "(name, link, what it is); a constant has no heading of its own, so its link leads to the chapter"
    page = next(iter(names.values()))[0].partition("#")[0]
    for name, line in dict(public(module)).items():
        yield name, names.get(f"{module}.{name}", [page])[0], line


def api_table(module, rows):
    "The table of a module"
    lines = [f"| [`{name}`]({link}) | {line} |" for name, link, line in rows]
    return f"## {module}\n\n| Name | What it is |\n|---|---|\n" + "\n".join(lines) + "\n"


def public(module):
    "(name, what it is) of a module's public functions, classes and constants, without importing it"
    code = (ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
    for node in ast.parse(code).body:
        found = (
            [(node.name, (ast.get_docstring(node) or one_line(node, code)).split("\n")[0])]
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
            else constants(node, code)
        )
        yield from ((name, line.replace("|", "\\|")) for name, line in found if not name.startswith("_"))


def constants(node, code):
    "(name, what it is) of each constant that a statement sets: the beginning of its value, and its remark"
    _, _, remark = code.splitlines()[node.lineno - 1].partition("  # ")
    for target in node.targets if isinstance(node, ast.Assign) else []:
        several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        for name, value in zip(target.elts, node.value.elts) if several else [(target, node.value)]:
            if isinstance(name, ast.Name):
                yield name.id, f"`{beginning(value)}`" + f" – {remark}" * bool(remark)


def beginning(value, width=60):
    "An expression in a few words: of a dictionary its keys, of anything long the beginning"
    if isinstance(value, ast.Dict) and all(value.keys):
        text = "{" + ", ".join(f"{ast.unparse(key)}: …" for key in value.keys) + "}"
    else:
        text = ast.unparse(value)
    return (text if len(text) <= width else text[:width].rsplit(" ", 1)[0] + " …").replace("`", "'")


def one_line(node, code):
    "What a function of one line says of itself: its remark, else what it returns"
    _, _, remark = code.splitlines()[node.lineno - 1].partition("  # ")
    returned = node.body[0].value if isinstance(node.body[0], ast.Return) else None
    return remark or (f"`{ast.unparse(returned)}`" if returned else "")


# ---- site


def render():
    "Turn _proc into a site, in _proc/_docs; a warning of smalldocs counts as a fault"
    quarto = shutil.which("quarto")
    command = (
        [quarto, "render", "."]
        if quarto
        else [sys.executable, "-m", "smalldocs.cli", "render", "--strict", "--quiet", "."]
    )
    if subprocess.run(command, cwd=PROC).returncode:
        raise DocsError(f"{'Quarto' if quarto else 'smalldocs'} could not build the site; see above.")


def finish_site(site):
    "Let no page ask another host for a part of it, give each a description, and let long names break"
    for path in site.rglob("*.css"):
        path.write_text(FONTS.sub("", path.read_text(encoding="utf-8")), encoding="utf-8")
    for path in site.rglob("*.html"):
        text = described(path.read_text(encoding="utf-8"))
        text = OUTPUT.sub(
            lambda found: found[1] + printed_as(html.unescape(found[2])) + found[0][len(found[1]) :], text
        )
        text = SVG_ALT.sub("<svg", text)
        text = LONG_NAME.sub(lambda name: MAY_BREAK.sub("<wbr>", name[0]), text)
        path.write_text(TYPESETTER.sub("", FORMULA.sub(mathml, text)), encoding="utf-8")


def printed_as(text):
    "The class of what a cell printed: sentences may break, a table may not, and a wide one is set smaller"
    if "─" not in text:
        return " prose"
    return " wide" * (max(len(line) for line in text.splitlines()) > 112)


def mathml(match):
    "A formula as MathML, which browsers set by themselves, with signs and functions' names spaced"
    tex = re.sub(r"\\(log|tanh) (?=[\w\\])", r"\\\1\\,", html.unescape(match[2]).replace(r"\_", "_"))
    tex = re.sub(r"(?<=[\w)}]) ?(?=\\log\b)", r"\\,", tex)
    made = convert(tex, display="block" if match[1] == "display" else "inline")
    made = re.sub(
        r"(<mo[^>]*>(?:&#x00028;|&#x0002C;|&#x0003D;|&#x02264;|&#x02190;)</mo>)<mo>(?=&#x02212;)",
        r'\1<mo form="prefix">',
        made,
    )
    made = re.sub(r"<mo>(&#x02202;|&#x0221E;)</mo>", r"<mi>\1</mi>", made).replace(
        "<mo>&#x0002F;</mo>", '<mo lspace="0" rspace="0">/</mo>'
    )
    return f'<span class="math {match[1]}{" long" * (len(tex) > 25)}">{made}</span>'


def described(text):
    "A page with a description for search engines and previews: its own, else its first sentence"
    if '<meta name="description"' in text:
        return text
    first = re.search(r"<main\b.*?<p>(.+?)</p>", text, re.S)
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", "", first[1])).split()) if first else ""
    sentence = re.match(r".{50,}?[.?](?= |$)|.+", words)
    return (
        text.replace("<title>", f'<meta name="description" content="{html.escape(sentence[0])}"><title>', 1)
        if sentence
        else text
    )


def publish(out):
    "Move the site to `out`, in place of an older one, but of nothing else"
    if out.exists() and not (out / "site_libs").is_dir():
        raise DocsError(f"{out} exists and is not a site: give another place with --out.")
    if out.exists():
        shutil.rmtree(out)
    shutil.move(PROC / "_docs", out)


class Targets(HTMLParser):
    "The links of a page, and the places one can link to"

    def __init__(self, path):
        super().__init__()
        self.links, self.ids = set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[k] for k in ("id", "name") if attrs.get(k)}
        if tag in ("a", "img", "link", "script"):
            self.links |= {attrs[k] for k in ("href", "src") if attrs.get(k)}


def check_links(out):
    "Every internal link of every page must lead somewhere, down to the heading"
    pages = {p: Targets(p) for p in out.rglob("*.html")}
    broken = [
        f"{p.name} -> {link}"
        for p, page in pages.items()
        for link in sorted(page.links)
        if not leads(p, link, pages)
    ]
    if broken:
        raise DocsError("these links lead nowhere: " + ", ".join(broken))


def leads(page, link, pages):
    "Whether a link on a page has a target; the rest of the web is not asked"
    path, _, anchor = unquote(link).partition("#")
    if re.match(r"[a-z]+:|//", link):
        return True
    target = (page.parent / path.split("?")[0]).resolve() if path else page
    if target.is_dir():
        target /= "index.html"
    return target.exists() and (not anchor or target not in pages or anchor in pages[target].ids)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--readme", action="store_true", help="write README.md only")
    parser.add_argument("--check", action="store_true", help="only say whether README.md is up to date")
    parser.add_argument("--out", type=Path, default=ROOT / "_docs", help="folder of the site")
    args = parser.parse_args()
    os.chdir(ROOT)
    if args.check:
        return check_readme()
    (ROOT / "README.md").write_text(readme(), encoding="utf-8")
    if args.readme:
        return
    process()
    render()
    finish_site(PROC / "_docs")
    check_links(PROC / "_docs")
    publish(args.out.resolve())


if __name__ == "__main__":
    try:
        main()
    except DocsError as error:
        sys.exit(str(error))
