-- What operators ordered by SQL and no worker has carried out yet.
create view howdah.orders as
select n.id as invocation_id, n.verb, n.deployment, n.at as ordered_at, n.seq as order_no
from howdah_core.nudge n;

comment on view howdah.orders is
  'Orders that were given by SQL (howdah.cancel, howdah.kill, …) and wait for a worker to carry them out: usually empty.';
comment on column howdah.orders.invocation_id is 'Which invocation is meant.';
comment on column howdah.orders.verb is 'cancel, kill, pause or resume.';
comment on column howdah.orders.deployment is 'For resume: the version to go on with, or latest.';
comment on column howdah.orders.ordered_at is 'When it was given.';
comment on column howdah.orders.order_no is 'Orders for one invocation are carried out in this order.';
