"""Everything is read from settings.ini, so that nbdev and pip see one set of facts."""

import json
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
ini = ConfigParser(delimiters=["="], interpolation=None)
ini.read(HERE / "settings.ini", encoding="utf-8")
cfg = ini["DEFAULT"]
extras = {
    name.removesuffix("_requirements"): cfg[name].split() for name in cfg if name.endswith("_requirements")
}


class BuildWithApp(build_py):
    "A wheel also holds the notebook that Voilà serves, without outputs"

    def run(self):
        super().run()
        if self.editable_mode:  # then the one in nbs/ is served
            return
        notebook = json.loads((HERE / "nbs" / "06_compare.ipynb").read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell |= dict(outputs=[], execution_count=None)
        app = Path(self.build_lib, "mlp_bench", "app")
        app.mkdir(parents=True, exist_ok=True)
        (app / "06_compare.ipynb").write_text(json.dumps(notebook), encoding="utf-8")


setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    url=cfg["git_url"].replace("%(user)s", cfg["user"]).replace("%(repo)s", cfg["repo"]),
    license="Apache-2.0",
    keywords=cfg["keywords"].split(),
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Natural Language :: English",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    cmdclass={"build_py": BuildWithApp},
    packages=find_packages(include=["mlp_bench", "mlp_bench.*"]),
    include_package_data=True,
    package_data={"mlp_bench": ["data/*", "app/*", "app/**/*"]},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require=extras,
    entry_points={
        "console_scripts": cfg["console_scripts"].split("\n"),
        "nbdev": ["mlp_bench=mlp_bench._modidx:d"],
    },
)
