"""Writers: a traced function in, a file on disk out. One module a format."""
