-- What arrived for an invocation and is not in its journal yet: only the worker that holds the
-- invocation writes the journal.
create view howdah.mailbox as
select
  m.id as invocation_id,
  m.seq,
  howdah.entry_type(m.kind) as type,
  coalesce(m.name, (
    select c.name from howdah_core.journal c
     where c.id = m.id and c.kind < 100 and c.cid = m.cid
     order by c.idx desc limit 1)) as name,
  howdah.as_text(m.value) as value,
  howdah.as_json(m.value) as value_json,
  howdah.failure_text((m.detail->>'code')::int, m.detail->>'message') as failure,
  m.at as sent_at,
  m.cid as completion_id
from howdah_core.mailbox m;

comment on view howdah.mailbox is
  'Mailboxes: what arrived for invocations and is not in their journals yet.';
comment on column howdah.mailbox.invocation_id is 'For whom it is.';
comment on column howdah.mailbox.seq is 'The order of arrival: the journal gets it in this order.';
comment on column howdah.mailbox.type is 'What it will be in the journal, such as ''call completed''.';
comment on column howdah.mailbox.name is
  'Its name or, for a completion, the name or target of the command.';
comment on column howdah.mailbox.value is
  'The payload as text; bytes that are no text are escaped.';
comment on column howdah.mailbox.value_json is 'The payload as jsonb; null where it is not JSON.';
comment on column howdah.mailbox.failure is 'Code and message, where it is a failure.';
comment on column howdah.mailbox.sent_at is 'When it was put there.';
comment on column howdah.mailbox.completion_id is
  'The completion that it is: howdah.journal.completion_id.';
