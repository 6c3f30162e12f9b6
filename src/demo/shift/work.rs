//! One worker of the shift. In: a transaction. Out: one thing done in it (an order taken in, an operation moved on, an issue raised or
//! resolved, an import, a deletion, or something that will be given up), and which events it must cause. It never commits.

use std::sync::Arc;

use anyhow::Result;
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_postgres::Transaction;
use uuid::Uuid;

use crate::demo::plant::Plant;
use crate::demo::truth::EntityKey;
use crate::demo::truth::Happening;

const ROUTING: [&str; 4] = ["Laser cut", "Bend", "Weld", "Paint"];
const CUSTOMERS: [&str; 4] = ["Northwind Rail", "Contoso Pumps", "Fabrikam", "Müller & Söhne"];
/// With fewer operations at hand, a new order comes in first.
const OPERATIONS_AT_HAND: usize = 8;
/// Orders that each worker finds at the beginning of the shift.
const ORDERS_AT_HAND: u32 = 3;
/// What is written where a transaction will be rolled back: no event may ever carry it.
const GIVEN_UP: i32 = 99_999;

/// Something done in a transaction.
pub(super) struct Done {
    /// The events that a commit causes, in order; for a transaction that is given up, those that it must not cause.
    pub(super) happenings: Vec<Happening>,
    /// To be rolled back.
    pub(super) is_given_up: bool,
}

/// A worker, with the rows that are his: nobody else touches them, so their order is his.
pub(in crate::demo) struct Worker {
    plant: Arc<Plant>,
    number: u32,
    orders: u32,
    dice: StdRng,
    operations: Vec<Operation>,
    finished: Vec<Order>,
    issues: Vec<Uuid>,
}

struct Operation {
    id: Uuid,
    what: String,
    status: Status,
    counter: u64,
    order: Option<Order>,
}

#[derive(Clone, Copy, PartialEq)]
enum Status {
    NotStarted,
    InProgress,
    OnHold,
}

/// A job with its part. It is finished when its last operation is.
#[derive(Clone)]
struct Order {
    job: Uuid,
    part: Uuid,
    number: String,
    is_updated: bool,
}

impl Worker {
    /// A worker with some orders at hand. They are older than the gateway: what it sees of them begins with their operations.
    pub(super) async fn hire(number: u32, plant: Arc<Plant>, transaction: &Transaction<'_>) -> Result<Worker> {
        let dice = StdRng::from_os_rng();
        let mut worker =
            Worker { plant, number, orders: 0, dice, operations: vec![], finished: vec![], issues: vec![] };
        for _ in 0..ORDERS_AT_HAND {
            worker.take_in_order(transaction).await?;
        }
        for operation in &mut worker.operations {
            operation.order = None;
        }
        Ok(worker)
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Does one thing, at random.
    pub(super) async fn do_something(&mut self, transaction: &Transaction<'_>) -> Result<Done> {
        if self.operations.len() < OPERATIONS_AT_HAND {
            return self.take_in_order(transaction).await;
        }
        match self.dice.random_range(0..100) {
            0..2 => self.import(transaction).await,
            2..8 => self.give_up(transaction).await,
            8..14 => self.raise_or_resolve_issue(transaction).await,
            14..24 if !self.finished.is_empty() => self.change_finished_order(transaction).await,
            _ => self.move_operation(transaction).await,
        }
    }

    async fn take_in_order(&mut self, transaction: &Transaction<'_>) -> Result<Done> {
        let order = self.insert_order(transaction).await?;
        let happenings = created(&order);
        let mut order = Some(order);
        for (place, name) in (1_i32..).zip(ROUTING) {
            let id = Uuid::new_v4();
            let Some(Order { part, number, .. }) = &order else { break };
            let cell = &self.plant.cells[self.dice.random_range(0..self.plant.cells.len())];
            transaction
                .execute(
                    "insert into public.operations (id, tenant_id, part_id, cell_id, operation_name, sequence, status,
                                                    estimated_time, actual_time)
                     values ($1, $2, $3, $4, $5, $6, 'not_started', 1.5, 0)",
                    &[&id, &self.plant.tenant, part, &cell.id, &name, &place],
                )
                .await?;
            let what = format!("{name} of {number} at {}", cell.name);
            // The last one carries the order on.
            let carried = if place as usize == ROUTING.len() { order.take() } else { None };
            self.operations.push(Operation { id, what, status: Status::NotStarted, counter: 0, order: carried });
        }
        Ok(Done { happenings, is_given_up: false })
    }

    async fn insert_order(&mut self, transaction: &Transaction<'_>) -> Result<Order> {
        self.orders += 1;
        let number = format!("J-{}{:05}", self.number + 1, self.orders);
        let order = Order { job: Uuid::new_v4(), part: Uuid::new_v4(), number, is_updated: false };
        let customer = CUSTOMERS[self.dice.random_range(0..CUSTOMERS.len())];
        let cell = &self.plant.cells[0];
        transaction
            .execute(
                "insert into public.jobs (id, tenant_id, job_number, customer, status, due_date, current_cell_id)
                 values ($1, $2, $3, $4, 'not_started', now() + interval '14 days', $5)",
                &[&order.job, &self.plant.tenant, &order.number, &customer, &cell.id],
            )
            .await?;
        transaction
            .execute(
                "insert into public.parts (id, tenant_id, job_id, part_number, material, quantity, status, current_cell_id)
                 values ($1, $2, $3, $4, 'S235', 1, 'not_started', $5)",
                &[&order.part, &self.plant.tenant, &order.job, &format!("P-{}", order.number), &cell.id],
            )
            .await?;
        Ok(order)
    }

    async fn move_operation(&mut self, transaction: &Transaction<'_>) -> Result<Done> {
        let place = self.dice.random_range(0..self.operations.len());
        let chance = self.dice.random_range(0..10);
        let operation = &mut self.operations[place];
        let (status, verb) = match operation.status {
            Status::NotStarted => ("in_progress", "started"),
            Status::OnHold => ("in_progress", "resumed"),
            Status::InProgress if chance < 7 => ("on_hold", "put on hold"),
            Status::InProgress => ("completed", "completed"),
        };
        operation.counter += 1;
        operation.status = if status == "on_hold" { Status::OnHold } else { Status::InProgress };
        set_operation(transaction, operation.id, status, i32::try_from(operation.counter)?).await?;
        let happening = Happening {
            entity: EntityKey::new("operation", operation.id),
            counter: operation.counter,
            what: format!("{} {verb}", operation.what),
        };
        if status == "completed" {
            let operation = self.operations.swap_remove(place);
            self.finished.extend(operation.order);
        }
        Ok(Done { happenings: vec![happening], is_given_up: false })
    }

    async fn change_finished_order(&mut self, transaction: &Transaction<'_>) -> Result<Done> {
        let place = self.dice.random_range(0..self.finished.len());
        let order = &mut self.finished[place];
        let (set_job, set_part, counter, verb) = if order.is_updated {
            ("deleted_at = now()", "deleted_at = now()", 3, "deleted")
        } else {
            ("due_date = due_date + interval '1 day'", "quantity = quantity + 1", 2, "updated")
        };
        // The part first: in the plant, too, children go before their parents.
        transaction.execute(&format!("update public.parts set {set_part} where id = $1"), &[&order.part]).await?;
        transaction.execute(&format!("update public.jobs set {set_job} where id = $1"), &[&order.job]).await?;
        let happenings = vec![
            Happening {
                entity: EntityKey::new("part", order.part),
                counter,
                what: format!("part P-{} {verb}", order.number),
            },
            Happening {
                entity: EntityKey::new("job", order.job),
                counter,
                what: format!("job {} {verb}", order.number),
            },
        ];
        if order.is_updated {
            self.finished.swap_remove(place);
        } else {
            order.is_updated = true;
        }
        Ok(Done { happenings, is_given_up: false })
    }

    async fn raise_or_resolve_issue(&mut self, transaction: &Transaction<'_>) -> Result<Done> {
        let (issue, counter, what) = if self.issues.len() >= 3 {
            let issue = self.issues.remove(0);
            transaction.execute("update public.issues set status = 'closed' where id = $1", &[&issue]).await?;
            (issue, 2, "issue resolved".to_owned())
        } else {
            let issue = Uuid::new_v4();
            let operation = &self.operations[self.dice.random_range(0..self.operations.len())];
            transaction
                .execute(
                    "insert into public.issues (id, tenant_id, operation_id, description, severity, status)
                     values ($1, $2, $3, 'Burr on the edge, outside tolerance', 'high', 'pending')",
                    &[&issue, &self.plant.tenant, &operation.id],
                )
                .await?;
            self.issues.push(issue);
            (issue, 1, format!("issue raised: {}", operation.what))
        };
        let happening = Happening { entity: EntityKey::new("issue", issue), counter, what };
        Ok(Done { happenings: vec![happening], is_given_up: false })
    }

    /// An import from the ERP: a few orders and the record of it, in one transaction.
    async fn import(&mut self, transaction: &Transaction<'_>) -> Result<Done> {
        let import = Uuid::new_v4();
        transaction
            .execute(
                "insert into public.sync_imports (id, tenant_id, source, entity_type, status, started_at)
                 values ($1, $2, 'erp_sap', 'jobs', 'processing', now())",
                &[&import, &self.plant.tenant],
            )
            .await?;
        let mut happenings = Vec::new();
        for _ in 0..3 {
            let order = self.insert_order(transaction).await?;
            happenings.extend(created(&order));
            self.finished.push(order);
        }
        transaction
            .execute(
                "update public.sync_imports
                 set status = 'completed', total_records = 3, created_count = 3, completed_at = now() where id = $1",
                &[&import],
            )
            .await?;
        happenings.push(Happening {
            entity: EntityKey::new("sync", import),
            counter: 1,
            what: "import of 3 jobs from the ERP completed".to_owned(),
        });
        Ok(Done { happenings, is_given_up: false })
    }

    /// Work that is rolled back: nobody may ever hear of it.
    async fn give_up(&mut self, transaction: &Transaction<'_>) -> Result<Done> {
        let operation = &self.operations[self.dice.random_range(0..self.operations.len())];
        set_operation(transaction, operation.id, "completed", GIVEN_UP).await?;
        Ok(Done { happenings: vec![], is_given_up: true })
    }
}

fn created(order: &Order) -> Vec<Happening> {
    vec![
        Happening {
            entity: EntityKey::new("job", order.job),
            counter: 1,
            what: format!("job {} created", order.number),
        },
        Happening {
            entity: EntityKey::new("part", order.part),
            counter: 1,
            what: format!("part P-{} created", order.number),
        },
    ]
}

/// The recorded time is the operation's counter, in hundredths of an hour.
async fn set_operation(transaction: &Transaction<'_>, id: Uuid, status: &str, hundredths: i32) -> Result<()> {
    let statement = format!(
        "update public.operations set status = '{status}', actual_time = $2::int4 / 100.0,
                completed_at = case when '{status}' = 'completed' then now() end
         where id = $1"
    );
    transaction.execute(&statement, &[&id, &hundredths]).await?;
    Ok(())
}
