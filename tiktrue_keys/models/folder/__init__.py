"""Operations on a folder of models, which counts only with its signed manifest.

Start with `encrypt.py`; `tree.py` reads a source folder, `compare.py` holds an encrypted one against its manifest. The
manifest's layout is in `models/format/manifest.py`.
"""
