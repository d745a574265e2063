"""The API, row by row. Everything else follows from this table: the routes, who may, what is kept, the document."""

from __future__ import annotations

from typing import Any

from waybill_schema_registry.engine.associating import Association
from waybill_schema_registry.entities import Config
from waybill_schema_registry.server import associations, compatibility, config, contexts, mode, pages, schemas, subjects
from waybill_schema_registry.server.metrics import TEXT
from waybill_schema_registry.server.rights import Right
from waybill_schema_registry.server.routing import Operation, Parameter, Route
from waybill_schema_registry.server.shapes import (
    CompatibilityAnswer,
    ConfigAnswer,
    ContextId,
    ModeBody,
    Registered,
    SchemaBody,
    SubjectVersion,
)

__all__ = ["TABLE"]

DELETED = Parameter("deleted", "boolean", "Softly deleted ones too.")
DELETED_ONLY = Parameter("deletedOnly", "boolean", "Softly deleted ones only.")
PAGE = (
    Parameter("offset", "integer", "How many to leave out at the beginning."),
    Parameter("limit", "integer", "How many at most; negative: all."),
)
PREFIX = Parameter(
    "subjectPrefix", says="The beginning of a name; in another context `:.context:name`, in all `:*:name`."
)
NORMALIZE = Parameter("normalize", "boolean", "Compare and keep the normalised text.")
FORMAT = Parameter("format", says="`resolved`: with references put in.")
REFERENCES = Parameter("referenceFormat", says="`qualified`: taken, and changes nothing in Avro.")
TAGS = Parameter("findTags", says="Tags to look for in the schema; `*`: all.", many=True)
PERMANENT = Parameter("permanent", "boolean", "For good, what is softly deleted. Needs the right `admin`.")
SUBJECT = Parameter("subject", says="A subject, or a context as `:.context:`, to search in.")
VERBOSE = Parameter("verbose", "boolean", "With messages on what is incompatible.")
TO_GLOBAL = Parameter("defaultToGlobal", "boolean", "What holds here, by whatever scope.")

RESOURCE = (
    Parameter("resourceType", says="`topic`, which is the default."),
    Parameter("associationType", says="`key` or `value`.", many=True),
)
LIFECYCLE = Parameter("lifecycle", says="`STRONG` or `WEAK`.")

VERSION = "/subjects/{subject}/versions/{version}"
UNKNOWN = (40401, 40402, 42202)
WRITES = (42205, 42208)

SUBJECTS = (
    Route(
        method="GET",
        path="/subjects",
        operation=subjects.list_subjects,
        answer=list[str],
        query=(PREFIX, DELETED, DELETED_ONLY, *PAGE),
    ),
    Route(
        method="POST",
        path="/subjects/{subject}",
        operation=subjects.look_up,
        answer=Registered,
        body=SchemaBody,
        query=(NORMALIZE, FORMAT, DELETED),
        codes=(40401, 40403, 42201, 42208),
        keep="subject",
    ),
    Route(
        method="DELETE",
        path="/subjects/{subject}",
        operation=subjects.delete_subject,
        right=Right.WRITE,
        answer=list[int],
        query=(PERMANENT,),
        codes=(40401, 40404, 40405, 40904, 42206, *WRITES),
    ),
    Route(
        method="GET",
        path="/subjects/{subject}/metadata",
        operation=subjects.latest_with_metadata,
        answer=Registered,
        query=(Parameter("key", many=True), Parameter("value", many=True), FORMAT, DELETED),
        codes=(40401, 40403),
    ),
    Route(
        method="GET",
        path="/subjects/{subject}/versions",
        operation=subjects.list_versions,
        answer=list[int],
        query=(
            DELETED,
            DELETED_ONLY,
            Parameter("deletedAsNegative", "boolean", "Softly deleted ones as negative numbers."),
            *PAGE,
        ),
        codes=(40401,),
    ),
    Route(
        method="POST",
        path="/subjects/{subject}/versions",
        operation=subjects.register,
        right=Right.WRITE,
        answer=Registered,
        body=SchemaBody,
        query=(NORMALIZE, FORMAT, Parameter("force", "boolean", "Check nothing. Needs the right `admin`.")),
        codes=(40901, 42201, 42207, 42209, 42210, *WRITES),
        keep="subject",
    ),
    Route(
        method="GET",
        path=VERSION,
        operation=subjects.version_of_subject,
        answer=Registered,
        query=(FORMAT, REFERENCES, DELETED, TAGS),
        codes=UNKNOWN,
        keep="subject",
    ),
    Route(
        method="GET",
        path=f"{VERSION}/schema",
        operation=subjects.version_text,
        answer=Any,
        query=(FORMAT, DELETED),
        codes=UNKNOWN,
    ),
    Route(
        method="GET",
        path=f"{VERSION}/referencedby",
        operation=subjects.referenced_by,
        answer=list[int],
        query=(DELETED, *PAGE),
        codes=UNKNOWN,
    ),
    Route(
        method="DELETE",
        path=VERSION,
        operation=subjects.delete_version,
        right=Right.WRITE,
        answer=int,
        query=(PERMANENT,),
        codes=(*UNKNOWN, 40406, 40407, 42206, *WRITES),
    ),
)

SCHEMAS = (
    Route(
        method="GET",
        path="/schemas",
        operation=schemas.list_schemas,
        answer=list[Registered],
        query=(
            PREFIX,
            Parameter("aliases", "boolean", "With the subjects that stand for each."),
            DELETED,
            Parameter("latestOnly", "boolean", "The latest version of each subject only."),
            Parameter("ruleType", says="Only those with a rule of this type."),
            *RESOURCE,
            LIFECYCLE,
            *PAGE,
        ),
    ),
    Route(method="GET", path="/schemas/types", operation=schemas.list_types, answer=list[str]),
    Route(
        method="GET",
        path="/schemas/ids/{id}",
        operation=schemas.schema_by_id,
        answer=Registered,
        query=(SUBJECT, FORMAT, REFERENCES, TAGS, Parameter("fetchMaxId", "boolean", "With the highest id given.")),
        codes=(40403,),
        keep="id",
    ),
    Route(
        method="GET",
        path="/schemas/ids/{id}/schema",
        operation=schemas.schema_text,
        answer=Any,
        query=(SUBJECT, FORMAT),
        codes=(40403,),
    ),
    Route(
        method="GET",
        path="/schemas/ids/{id}/subjects",
        operation=schemas.subjects_of_id,
        answer=list[str],
        query=(SUBJECT, DELETED, *PAGE),
        codes=(40403,),
    ),
    Route(
        method="GET",
        path="/schemas/ids/{id}/versions",
        operation=schemas.versions_of_id,
        answer=list[SubjectVersion],
        query=(SUBJECT, DELETED, *PAGE),
        codes=(40403,),
    ),
    Route(
        method="GET",
        path="/schemas/guids/{guid}",
        operation=schemas.schema_by_guid,
        answer=Registered,
        query=(FORMAT,),
        codes=(40403,),
    ),
    Route(
        method="GET",
        path="/schemas/guids/{guid}/ids",
        operation=schemas.ids_of_guid,
        answer=list[ContextId],
        codes=(40403,),
    ),
)


def _settings(path: str) -> tuple[Route, ...]:
    """Config and mode, of a subject and of all."""
    own = "{subject}" in path
    config_path, mode_path = f"/config{path}", f"/mode{path}"
    admin = Right.ADMIN
    return (
        Route(
            method="GET",
            path=config_path,
            operation=config.get_config,
            answer=ConfigAnswer,
            query=(TO_GLOBAL,),
            codes=(40408,) if own else (),
        ),
        Route(
            method="PUT",
            path=config_path,
            operation=config.set_config,
            right=admin,
            answer=Config,
            body=Config,
            codes=(42203, 42210, *WRITES),
        ),
        Route(
            method="DELETE",
            path=config_path,
            operation=config.delete_config,
            right=admin,
            answer=ConfigAnswer,
            codes=(40401, *WRITES),
        ),
        Route(
            method="GET",
            path=mode_path,
            operation=mode.get_mode,
            answer=ModeBody,
            query=(TO_GLOBAL,),
            codes=(40409,) if own else (),
        ),
        Route(
            method="PUT",
            path=mode_path,
            operation=mode.set_mode,
            right=admin,
            answer=ModeBody,
            body=ModeBody,
            query=(Parameter("force", "boolean", "IMPORT, although there are schemas."),),
            codes=(42204, *WRITES),
        ),
        Route(
            method="DELETE",
            path=mode_path,
            operation=mode.delete_mode,
            right=admin,
            answer=ModeBody,
            query=(Parameter("recursive", "boolean", "Those of the subjects in this context too."),),
            codes=(40401, *WRITES),
        ),
    )


COMPATIBILITY = (
    Route(
        method="POST",
        path="/compatibility/subjects/{subject}/versions/{version}",
        operation=compatibility.check_version,
        answer=CompatibilityAnswer,
        body=SchemaBody,
        query=(NORMALIZE, VERBOSE),
        codes=(40401, 40402, 42201, 42202),
    ),
    Route(
        method="POST",
        path="/compatibility/subjects/{subject}/versions",
        operation=compatibility.check_history,
        answer=CompatibilityAnswer,
        body=SchemaBody,
        query=(NORMALIZE, VERBOSE),
        codes=(40401, 42201),
    ),
)

CONTEXTS = (
    Route(
        method="GET",
        path="/contexts",
        operation=contexts.list_contexts,
        answer=list[str],
        query=(Parameter("contextPrefix"), *PAGE),
    ),
    Route(
        method="DELETE",
        path="/contexts/{context}",
        operation=contexts.delete_context,
        right=Right.ADMIN,
        status=204,
        codes=(42205, 42211),
    ),
)

DRY_RUN = Parameter("dryRun", "boolean", "Change nothing.")
IN_CONTEXT = Parameter("context", says="That of subjects that name none, as `:.context:`.")
ASSOCIATING = (40901, 40903, 40904, 40905, 40907, 40908, 42201, 42209, 42212, *WRITES)


def _listing(path: str, operation: Operation) -> Route:
    return Route(
        method="GET",
        path=f"/associations/{path}",
        operation=operation,
        answer=list[Association],
        query=(*RESOURCE, LIFECYCLE, *PAGE),
    )


def _associating(method: str, path: str, operation: Operation) -> Route:
    return Route(
        method=method,
        path=f"/associations{path}",
        operation=operation,
        right=Right.WRITE,
        elsewhere=True,
        answer=associations.Associated,
        body=associations.AssociationBody,
        query=(IN_CONTEXT, DRY_RUN),
        codes=ASSOCIATING,
    )


ASSOCIATIONS = (
    _listing("subjects/{subject}", associations.associations_of_subject),
    _listing("resources/{resource}", associations.associations_of_resource),
    _listing("resources/{namespace}/{name}", associations.associations_of_name),
    _associating("POST", "", associations.associate),
    _associating("PUT", "", associations.update_associations),
    _associating("PUT", "/resources/{resource}", associations.update_associations),
    Route(
        method="DELETE",
        path="/associations/resources/{resource}",
        operation=associations.dissociate,
        right=Right.WRITE,
        elsewhere=True,
        status=204,
        query=(*RESOURCE, Parameter("cascadeLifecycle", "boolean", "Strong ones with their subjects."), DRY_RUN),
        codes=(40410, 40908, 42206, *WRITES),
    ),
    Route(
        method="POST",
        path="/associations:batchGet",
        operation=associations.get_associations,
        status=207,
        answer=associations.BatchAnswer,
        body=associations.Questions,
        codes=(42212,),
    ),
    Route(
        method="POST",
        path="/associations:batchMutate",
        operation=associations.change_associations,
        right=Right.WRITE,
        elsewhere=True,
        status=207,
        answer=associations.BatchAnswer,
        body=associations.Changes,
        query=(IN_CONTEXT, DRY_RUN),
        codes=(42212, *WRITES),
    ),
)

PAGES = (
    Route(method="GET", path="/", operation=pages.nothing, answer=pages.Nothing, open=True),
    Route(method="POST", path="/", operation=pages.nothing, answer=pages.Nothing, open=True),
    Route(method="GET", path="/v1/metadata/id", operation=pages.server_id, answer=pages.ServerId, open=True),
    Route(
        method="GET", path="/v1/metadata/version", operation=pages.server_version, answer=pages.ServerVersion, open=True
    ),
    Route(method="GET", path="/v1/metadata/deployment", operation=pages.deployment, answer=pages.Deployment, open=True),
    Route(method="GET", path="/health", operation=pages.health, answer=pages.Health, open=True, codes=(50001,)),
    Route(method="GET", path="/metrics", operation=pages.metrics, content=TEXT, answer=str, open=True),
    Route(
        method="GET", path="/openapi.json", operation=pages.document, content="application/json", answer=Any, open=True
    ),
)

TABLE = (
    *SUBJECTS,
    *SCHEMAS,
    *_settings(""),
    *_settings("/{subject}"),
    *COMPATIBILITY,
    *CONTEXTS,
    *ASSOCIATIONS,
    *PAGES,
)
