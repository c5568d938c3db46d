"""What `streamlit run` runs: a script, which cannot import its own package relatively."""

import sys
from importlib import import_module
from pathlib import Path

folder = Path(__file__).resolve().parent
package = folder.parent
if str(package.parent) not in sys.path:  # Streamlit adds only this script's own folder
    sys.path.append(str(package.parent))

import_module(f"{package.name}.{folder.name}.page").draw_page()
