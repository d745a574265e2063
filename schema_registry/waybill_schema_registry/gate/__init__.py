"""The gate: contracts compared with a registry or a git revision, before anything is deployed.

A contract is what an application promises about a subject (`contract`): the schema of a topic's payload (`application`) or an
`.avsc` file (`files`). A baseline is what it is compared with (`baseline`): a registry's history, or the contracts of a git
revision (`revision`). What comes of it is judged by rules that have names (`judging`, `rules`), and told (`telling`,
`annotations`).
"""
