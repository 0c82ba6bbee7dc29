-- The handlers of all services, retired ones included: invocations refer to them for ever.
create view howdah.handlers as
select
  v.name as service,
  h.name,
  h.kind,
  h.is_public,
  h.description,
  h.input_content_type,
  h.input_required,
  h.input_schema,
  h.output_content_type,
  h.output_schema,
  h.idempotency_retention,
  h.journal_retention,
  h.workflow_retention,
  h.metadata,
  h.retired_at,
  h.no as handler_no
from howdah_core.handler h
join howdah_core.service v on v.no = h.service
where h.name not like '~%';

comment on view howdah.handlers is
  'Handlers: one row for each that a service has or had.';
comment on column howdah.handlers.service is 'The service''s name.';
comment on column howdah.handlers.name is 'The handler''s name.';
comment on column howdah.handlers.kind is
  'stateless (of a plain service), exclusive (one at a time per key, may write state), shared (beside it, reads state) or workflow (runs once per key).';
comment on column howdah.handlers.is_public is 'Whether it can be called over HTTP.';
comment on column howdah.handlers.description is 'What its author wrote.';
comment on column howdah.handlers.input_content_type is
  'The content type that it takes; null: no body.';
comment on column howdah.handlers.input_required is 'Whether an empty body is refused.';
comment on column howdah.handlers.input_schema is 'JSON schema of the input, where it is known.';
comment on column howdah.handlers.output_content_type is 'The content type of its output.';
comment on column howdah.handlers.output_schema is 'JSON schema of the output, where it is known.';
comment on column howdah.handlers.idempotency_retention is
  'How long an invocation with an idempotency key is kept after its completion.';
comment on column howdah.handlers.journal_retention is
  'How long any other invocation is kept after its completion.';
comment on column howdah.handlers.workflow_retention is
  'For the main handler of a workflow: how long its run is kept after its completion.';
comment on column howdah.handlers.metadata is 'Facts that its author gave, a JSON object of texts.';
comment on column howdah.handlers.retired_at is
  'When a deployment came without it; null while the service has it.';
comment on column howdah.handlers.handler_no is
  'Its number in this database: howdah.invocations.handler_no.';
