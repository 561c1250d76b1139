"""A package, unlike other folders: what is set up for it (scope `package`) is gone before the next folder's tests."""
