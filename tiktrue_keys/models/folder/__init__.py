"""Operations on a folder of models and its manifest."""
