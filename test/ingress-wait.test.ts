import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { meet } from '../lib/conditions.ts';
import { DeadlineError } from '../lib/errors.ts';
import type { Ports } from '../lib/ports/types.ts';
import type { KubeObject } from '../lib/step.ts';

const Waiting = suite('waiting for an issuer');

/** A cluster that holds one object. */
function holding(object: KubeObject | undefined): Pick<Ports, 'ssh' | 'kube' | 'clock'> {
  const never = async (): Promise<never> => {
    throw new Error('not asked');
  };
  return {
    clock: { now: () => new Date(), sleep: (seconds) => new Promise((done) => setTimeout(done, seconds * 1000)) },
    kube: {
      reachable: never,
      get: async () => object,
      list: never,
      survey: never,
      apply: never,
      delete: never,
      logs: never,
    },
    ssh: {
      ...{ reachable: never, read: never, readFile: never, roundTrips: () => ({}) },
      ...{ run: never, upload: never, learnHostKey: never, forgetHostKey: never, forward: never },
    },
  };
}

const issuer = { apiVersion: 'cert-manager.io/v1', kind: 'ClusterIssuer', name: 'letsencrypt-prod' };
const seen: [what: string, status: unknown, cause: string][] = [
  [
    'refused by the CA',
    { conditions: [{ type: 'Ready', status: 'False', reason: 'ErrRegisterACMEAccount', message: 'no such host' }] },
    'last seen: status.conditions[Ready].status is "False" (ErrRegisterACMEAccount: no such host)',
  ],
  ['no condition yet', {}, 'last seen: status.conditions[Ready].status is undefined'],
];
for (const [what, status, cause] of seen)
  Waiting(`${what}: the deadline's cause says why`, async () => {
    const { name, ...rest } = issuer;
    const ports = holding({ ...rest, metadata: { name }, status });
    const wait = meet({ kube: issuer, path: 'status.conditions[Ready].status', equals: 'True' }, 0.1, ports);
    const error = await wait.then(
      () => undefined,
      (e: unknown) => e,
    );
    assert.instance(error, DeadlineError);
    assert.is((error as DeadlineError).likelyCause, cause);
  });
Waiting('a Ready one is no wait', async () => {
  const { name, ...rest } = issuer;
  const ports = holding({ ...rest, metadata: { name }, status: { conditions: [{ type: 'Ready', status: 'True' }] } });
  await meet({ kube: issuer, path: 'status.conditions[Ready].status', equals: 'True' }, 0.1, ports);
});
Waiting.run();
