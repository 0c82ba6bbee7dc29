create view howdah.mailbox as
select m.id as invocation_id, m.seq, howdah.entry_type(m.kind) as type,
       howdah.as_text(m.value) as value, howdah.as_json(m.value) as value_json,
       case when m.detail ? 'code' then '[' || (m.detail->>'code') || '] ' || (m.detail->>'message') end
         as failure,
       m.at as sent_at
  from howdah_core.mailbox m;

comment on view howdah.mailbox is 'What arrived for an invocation and is not in its journal yet.';
comment on column howdah.mailbox.invocation_id is 'For whom.';
comment on column howdah.mailbox.seq is 'Order of arrival.';
comment on column howdah.mailbox.type is 'What it is.';
comment on column howdah.mailbox.value is 'The payload as text.';
comment on column howdah.mailbox.value_json is 'The payload as jsonb, null where it is not JSON.';
comment on column howdah.mailbox.failure is 'Code and message, where it is a failure.';
comment on column howdah.mailbox.sent_at is 'When it was stored.';
