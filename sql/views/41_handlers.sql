create view howdah.handlers as
select v.name as service, h.name, h.kind, h.is_public, h.description, h.input_content_type,
       h.input_required, h.input_schema, h.output_content_type, h.output_schema,
       h.idempotency_retention, h.journal_retention, h.retired_at
  from howdah_core.handler h join howdah_core.service v on v.no = h.service;

comment on view howdah.handlers is 'The handlers of all services, retired ones included.';
comment on column howdah.handlers.service is 'The service''s name.';
comment on column howdah.handlers.name is 'The handler''s name.';
comment on column howdah.handlers.kind is 'stateless, exclusive, shared or workflow.';
comment on column howdah.handlers.is_public is 'Whether it can be called over HTTP.';
comment on column howdah.handlers.description is 'What its author wrote.';
comment on column howdah.handlers.input_content_type is 'The content type that it takes; null: no body.';
comment on column howdah.handlers.input_required is 'Whether an empty body is refused.';
comment on column howdah.handlers.input_schema is 'JSON schema of the input.';
comment on column howdah.handlers.output_content_type is 'The content type of its output.';
comment on column howdah.handlers.output_schema is 'JSON schema of the output.';
comment on column howdah.handlers.idempotency_retention is 'How long requests with an idempotency key are kept after completion.';
comment on column howdah.handlers.journal_retention is 'How long all others are kept after completion.';
comment on column howdah.handlers.retired_at is 'When a deployment came without it.';
