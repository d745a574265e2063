"""Dead letters as something that people work on: an index that can be searched, reviews, redrives that can be resumed."""

__all__: list[str] = []
