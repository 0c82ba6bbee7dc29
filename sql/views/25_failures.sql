-- Attempts that failed. Those that succeeded or were suspended leave no row.
create view howdah.failures as
select
  f.id as invocation_id,
  f.n as attempt,
  f.failed_at,
  f.code,
  f.error_code,
  f.message,
  f.stacktrace,
  f.entry_name as name,
  f.entry_index as index,
  f.worker
from howdah_core.failure f;

comment on view howdah.failures is
  'Failed attempts: one row each, for as long as the invocation is kept.';
comment on column howdah.failures.invocation_id is 'The invocation.';
comment on column howdah.failures.attempt is
  'Which of its attempts: howdah.invocations.attempts counts the same.';
comment on column howdah.failures.failed_at is 'When it was recorded.';
comment on column howdah.failures.code is 'The error''s code, as an HTTP status: 500 for most.';
comment on column howdah.failures.error_code is
  'The code of an error of howdah itself, such as HD2001, which the documentation explains.';
comment on column howdah.failures.message is 'The error''s class and message.';
comment on column howdah.failures.stacktrace is 'The end of its stack trace.';
comment on column howdah.failures.name is 'The step that failed, where it was one.';
comment on column howdah.failures.index is
  'The journal entry that the handler no longer agrees with, for a mismatch on replay.';
comment on column howdah.failures.worker is 'The worker that executed the attempt.';
