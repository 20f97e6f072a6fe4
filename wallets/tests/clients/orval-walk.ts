// The walk with the client of orval. The generated client contains the base address.
import assert from "node:assert/strict";
import {
  cancel,
  createWallet,
  deposit,
  getWallet,
  listTransactions,
  withdraw,
} from "./wallet-client";

async function walk(): Promise<void> {
  const opened = await createWallet({});
  assert(opened.status === 201);
  const wallet = opened.data.uuid;
  const headers = { "Idempotency-Key": crypto.randomUUID() };
  let id = 0;
  for (const replayed of [null, "true"]) {
    const made = await deposit(wallet, { amount: 10000 }, headers);
    assert(made.status === 200);
    assert.equal(made.data.wallet.balance, 10000);
    assert.equal(made.headers.get("Idempotent-Replayed"), replayed);
    id = made.data.transaction.id;
  }
  const planned = await withdraw(
    wallet,
    { amount: 4000, scheduled_for: new Date(Date.now() + 86400e3).toISOString() },
    { "Idempotency-Key": crypto.randomUUID() },
  );
  assert(planned.status === 201);
  const found = await getWallet(wallet);
  assert(found.status === 200);
  assert.equal(found.data.balance, 10000);
  const listed = await listTransactions(wallet, { status: "PENDING" });
  assert.deepEqual(listed.data, [planned.data]);
  const cancelled = await cancel(wallet, planned.data.id);
  assert(cancelled.status === 200);
  assert.equal(cancelled.data.status, "CANCELLED");
  const refused = await cancel(wallet, id);
  assert(refused.status === 409);
  assert.equal(refused.data.code, "not_cancelable");
  console.log("done");
}

void walk();
