"""The rules of the registry: subjects, versions, ids, levels, modes, deletion."""
