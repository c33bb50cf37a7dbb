"""Operations on folders of models. An encrypted folder is complete only with its signed manifest.

Start with `encrypt.py`; `tree.py` reads a source folder, `compare.py` compares an encrypted one with its manifest. The
manifest's layout is in `models/format/manifest.py`.
"""
