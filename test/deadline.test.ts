import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Poll, until, within } from '../lib/deadline.ts';
import { DeadlineError } from '../lib/errors.ts';

const test = suite('deadlines');
const never = (): Promise<never> => new Promise(() => undefined);

test('work in time is its value, or its error', async () => {
  assert.is(await within(1, 'work', async () => 42), 42);
  const error = await failure(within(1, 'work', () => Promise.reject(new Error('broken'))));
  assert.is(error.message, 'broken');
});

test('work that does not end: what, how long, and its signal', async () => {
  let aborted = false;
  const late = within(
    0.02,
    'the answer',
    (signal) => {
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      return never();
    },
    { cause: 'nobody knows the question', fix: 'ask again' },
  );
  const error = await failure(late);
  assert.instance(error, DeadlineError);
  const { message, likelyCause, fix } = error as DeadlineError;
  assert.equal(
    [message, likelyCause, fix],
    ['the answer: not within 0.02 s', 'nobody knows the question', 'ask again'],
  );
  assert.ok(aborted);
});

test('asks again with pauses that grow, until it is done', async () => {
  const pauses: number[] = [];
  let looks = 0;
  const look = async (): Promise<Poll<string>> =>
    ++looks < 8 ? { done: false, seen: `${looks}` } : { done: true, value: 'there' };
  assert.is(await until(60, 'it', look, { sleep: async (s) => void pauses.push(Math.round(s * 100) / 100) }), 'there');
  assert.equal(pauses, [0.1, 0.16, 0.26, 0.41, 0.66, 1.05, 1.68]);
});

test('ends with what was seen last', async () => {
  const sleep = (seconds: number): Promise<void> => new Promise((done) => setTimeout(done, seconds * 1000));
  let looks = 0;
  const error = await failure(
    until(0.15, 'k3s-cp-01 is Ready', async () => ({ done: false, seen: `look ${++looks}` }), { first: 0.01, sleep }),
  );
  assert.is(error.message, 'k3s-cp-01 is Ready: not within 0.15 s');
  assert.is((error as DeadlineError).likelyCause, `last seen: look ${looks}`);
});

test('a look that hangs is ended too', async () => {
  const error = await failure(until(0.05, 'it', never, { sleep: async () => undefined }));
  assert.is((error as DeadlineError).likelyCause, 'last seen: nothing yet');
});

async function failure(work: Promise<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not fail');
}

test.run();
