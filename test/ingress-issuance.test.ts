import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { meet } from '../lib/conditions.ts';
import { HomelabError } from '../lib/errors.ts';
import { issuanceOf } from '../lib/issuance.ts';
import type { Ports } from '../lib/ports/types.ts';
import type { KubeObject } from '../lib/step.ts';
import { fakePorts } from './fixtures/ports.ts';

/** Why a certificate is not issued: Certificate → CertificateRequest → Order → Challenge. */
const HOST = 'myapp.codeofficer.com';
const ref = { name: 'my-app-tls', namespace: 'my-app', host: HOST };
const condition = (type: string, status: string, reason = '', message = '', more = {}): object => ({
  ...{ type, status, reason, message },
  ...more,
});

type Part = { spec?: object; status?: object; metadata?: object };
const certificate = (...conditions: object[]): KubeObject =>
  part('Certificate', 'my-app-tls', { status: { conditions } });
function part(kind: string, name: string, { spec, status, metadata }: Part = {}, owner?: KubeObject): KubeObject {
  const apiVersion = ['Order', 'Challenge'].includes(kind) ? 'acme.cert-manager.io/v1' : 'cert-manager.io/v1';
  const ownerReferences = owner && [{ kind: owner.kind, name: owner.metadata.name }];
  return {
    apiVersion,
    kind,
    metadata: { name, namespace: 'my-app', ownerReferences, ...metadata },
    spec: spec ?? { dnsNames: [HOST] },
    status,
  };
}
const request = (revision: number, ...conditions: object[]): KubeObject =>
  part('CertificateRequest', `my-app-tls-${revision}`, {
    status: { conditions },
    metadata: {
      ownerReferences: [{ kind: 'Certificate', name: 'my-app-tls' }],
      annotations: {
        'cert-manager.io/certificate-name': 'my-app-tls',
        'cert-manager.io/certificate-revision': String(revision),
      },
    },
  });
const issuing = certificate(
  condition('Issuing', 'True', 'DoesNotExist', 'Issuing certificate as Secret does not exist'),
);
const asked = request(
  1,
  condition('Ready', 'False', 'Pending', 'Waiting on certificate issuance from order o: "pending"'),
);
const order = (status: object): KubeObject => part('Order', 'o', { status }, asked);
const pending = order({ state: 'pending' });
const challenge = (reason: string, state = 'pending', dnsName = HOST): KubeObject =>
  part('Challenge', `c-${dnsName}`, { spec: { dnsName }, status: { state, reason } }, pending);

const CLOUDFLARE =
  'while querying the Cloudflare API for GET "/zones?name=codeofficer.com" \n\t Error: 9109: Invalid access token';
const Walk = suite('how far a certificate has come');
const walks: [what: string, objects: KubeObject[], state: string, seen?: string][] = [
  ['nothing yet', [], 'waiting', 'cert-manager has made no Certificate yet'],
  ['just made', [certificate()], 'waiting', 'cert-manager has not started yet'],
  [
    'another of the same name',
    [{ ...issuing, metadata: { ...issuing.metadata, namespace: 'b' } }],
    'waiting',
    'cert-manager has made no Certificate yet',
  ],
  ['issued', [certificate(condition('Ready', 'True'))], 'ready'],
  [
    'issued for the name before',
    [
      part('Certificate', 'my-app-tls', {
        spec: { dnsNames: ['old.b'] },
        status: { conditions: [condition('Ready', 'True')] },
      }),
    ],
    'waiting',
    `the Certificate is not for ${HOST} yet`,
  ],
  [
    'issued, and changed since',
    [
      part('Certificate', 'my-app-tls', {
        metadata: { generation: 2 },
        status: { conditions: [condition('Ready', 'True', '', 'up to date', { observedGeneration: 1 })] },
      }),
    ],
    'waiting',
    'Certificate: up to date',
  ],
  ['asked for', [issuing], 'waiting', 'Certificate: Issuing certificate as Secret does not exist'],
  [
    'a request',
    [issuing, asked],
    'waiting',
    'CertificateRequest: Waiting on certificate issuance from order o: "pending"',
  ],
  [
    'an order that says nothing',
    [issuing, asked, pending],
    'waiting',
    'CertificateRequest: Waiting on certificate issuance from order o: "pending"',
  ],
  [
    'a challenge knows best',
    [
      issuing,
      asked,
      pending,
      challenge('Waiting for DNS-01 challenge propagation: DNS record for "x" not yet propagated'),
    ],
    'waiting',
    `Challenge for ${HOST}: Waiting for DNS-01 challenge propagation: DNS record for "x" not yet propagated`,
  ],
  [
    'of two challenges the one that is not done',
    [issuing, asked, pending, challenge('Successfully authorized domain', 'valid', 'a.b'), challenge('slow')],
    'waiting',
    `Challenge for ${HOST}: slow`,
  ],
  [
    'a challenge of somebody else',
    [issuing, asked, pending, { ...challenge('not ours'), metadata: { name: 'c', namespace: 'my-app' } }],
    'waiting',
    'CertificateRequest: Waiting on certificate issuance from order o: "pending"',
  ],
  [
    'Cloudflare refuses the token',
    [issuing, asked, pending, challenge(CLOUDFLARE)],
    'stuck',
    `Challenge for ${HOST}: ${CLOUDFLARE.replaceAll(/\s+/g, ' ')}`,
  ],
  [
    'an order that was refused',
    [
      issuing,
      asked,
      order({
        state: 'errored',
        reason: 'Failed to create Order: 429 urn:ietf:params:acme:error:rateLimited: too many certificates',
      }),
    ],
    'stuck',
    'Order is errored: Failed to create Order: 429 urn:ietf:params:acme:error:rateLimited: too many certificates',
  ],
  ['an order that failed without a word', [issuing, asked, order({ state: 'invalid' })], 'stuck', 'Order is invalid'],
  [
    'the request that counts is the newest',
    [
      issuing,
      request(1, condition('Ready', 'False', 'Failed', 'old')),
      request(2, condition('Ready', 'False', 'Pending', 'new')),
    ],
    'waiting',
    'CertificateRequest: new',
  ],
  [
    'what was made for a Certificate that was deleted does not count',
    [
      { ...issuing, metadata: { ...issuing.metadata, uid: 'new' } },
      {
        ...request(1, condition('Ready', 'False', 'Failed', 'old')),
        metadata: {
          ...request(1).metadata,
          ownerReferences: [{ kind: 'Certificate', name: 'my-app-tls', uid: 'old' }],
        },
      },
    ],
    'waiting',
    'Certificate: Issuing certificate as Secret does not exist',
  ],
  [
    'denied',
    [issuing, request(1, condition('Denied', 'True', '', 'by policy'))],
    'stuck',
    'CertificateRequest is denied: by policy',
  ],
  [
    'failed before, and nothing is under way',
    [
      part('Certificate', 'my-app-tls', {
        status: {
          lastFailureTime: '2026-11-23T11:00:00Z',
          conditions: [condition('Issuing', 'False', 'Failed', 'The certificate request has failed to complete')],
        },
      }),
    ],
    'stuck',
    'Certificate: The certificate request has failed to complete',
  ],
  [
    'failed before, and tried again',
    [
      part('Certificate', 'my-app-tls', {
        status: {
          lastFailureTime: '2026-11-23T11:00:00Z',
          conditions: [condition('Issuing', 'True', 'DoesNotExist', 'again')],
        },
      }),
    ],
    'waiting',
    'Certificate: again',
  ],
];
for (const [what, objects, state, seen] of walks)
  Walk(what, () => {
    const found = issuanceOf(objects, ref);
    assert.equal([found.state, found.state === 'ready' ? undefined : found.seen], [state, seen]);
  });
Walk.run();

const Causes = suite('why a certificate is stuck');
const causes: [said: string, cause: RegExp | undefined][] = [
  [CLOUDFLARE, /Cloudflare refuses the token/],
  [
    'while attempting to find Zones for domain x.\nwhile querying the Cloudflare API for GET "/zones?name=b" \n\t Error: 10000: Authentication error',
    /refuses the token/,
  ],
  [
    'while querying the Cloudflare API for GET "/zones" \n\t Error: 6003: Invalid request headers<- 6111: Invalid format for Authorization header',
    /refuses the token/,
  ],
  [
    'Found no Zones for domain _acme-challenge.x. (neither in the sub-domain nor in the SLD) please make sure your domain-entries in the config are correct',
    /no such zone/,
  ],
  ['error getting cloudflare secret: secret "cloudflare-api-token" not found', /has no Cloudflare token/],
  [
    'Failed to create Order: 429 urn:ietf:params:acme:error:rateLimited: too many certificates (5) already issued for this exact set of identifiers in the last 168h',
    /rate limit/,
  ],
  [
    'Error accepting authorization: acme: authorization error for x: 403 urn:ietf:params:acme:error:caa: CAA record for x prevents issuance',
    /CAA record/,
  ],
  [
    'Error accepting authorization: acme: authorization error for x: 400 urn:ietf:params:acme:error:dns: DNS problem: NXDOMAIN looking up TXT',
    /did not find the record/,
  ],
  [
    'Failed to create Order: 400 urn:ietf:params:acme:error:rejectedIdentifier: Invalid identifiers requested',
    /issues nothing for this name/,
  ],
  [
    'Failed to determine the list of Challenge resources: no configured challenge solvers can be used for this challenge',
    /names of the domain only/,
  ],
  ['something that nobody has met', undefined],
];
for (const [said, cause] of causes)
  Causes(said.slice(0, 70), () => {
    const found = issuanceOf([issuing, asked, pending, challenge(said)], ref);
    if (cause) assert.match(found.state === 'stuck' ? (found.cause ?? '') : '', cause);
    else assert.is(found.state, 'waiting');
  });
Causes.run();

const Waiting = suite('waiting for a certificate');
/** Of the namespace. */
let events: KubeObject[] = [];
Waiting.before.each(() => {
  events = [];
});
/** What the cluster has, look after look; the last stays. */
function over(...looks: KubeObject[][]): Pick<Ports, 'ssh' | 'kube' | 'clock'> {
  let at = 0;
  const survey = async () => {
    const value = looks[Math.min(at, looks.length - 1)] ?? [];
    at += 1;
    return { ok: true as const, value };
  };
  return fakePorts({ kube: { survey, list: async () => events } });
}
const failure = (
  ports: Pick<Ports, 'ssh' | 'kube' | 'clock'>,
  seconds: number,
  told: string[] = [],
): Promise<HomelabError> =>
  meet({ certificate: ref }, seconds, ports, (seen) => told.push(seen)).then(
    () => {
      throw new Error('it was issued');
    },
    (error: unknown) => {
      if (error instanceof HomelabError) return error;
      throw error;
    },
  );

Waiting('ends when it is issued, and tells what it saw on the way, once each', async () => {
  const told: string[] = [];
  const slow = [issuing, asked, pending, challenge('slow')];
  await meet(
    { certificate: ref },
    10,
    over([], [issuing], slow, slow, [certificate(condition('Ready', 'True'))]),
    (seen) => told.push(seen),
  );
  assert.equal(told, [
    'cert-manager has made no Certificate yet',
    'Certificate: Issuing certificate as Secret does not exist',
    `Challenge for ${HOST}: slow`,
  ]);
});
Waiting('ends at once when nothing will come of it, with cause and fix', async () => {
  const error = await failure(over([issuing], [issuing, asked, pending, challenge(CLOUDFLARE)]), 600);
  assert.is(error.message, 'the certificate my-app/my-app-tls is not issued');
  assert.match(error.likelyCause ?? '', /Cloudflare refuses the token/);
  assert.match(error.fix ?? '', /Zone:DNS:Edit.*run setup-ingress/);
  assert.match(error.output ?? '', /9109: Invalid access token/);
});
Waiting('what a Challenge said is remembered when its Order fails without a word', async () => {
  const error = await failure(
    over([issuing, asked, pending, challenge('odd words')], [issuing, asked, order({ state: 'invalid' })]),
    600,
  );
  assert.is(error.output, `Challenge for ${HOST}: odd words`);
});
Waiting('at its deadline it explains what it saw last', async () => {
  const propagating = challenge('Waiting for DNS-01 challenge propagation: DNS record for "x" not yet propagated');
  const error = await failure(over([issuing, asked, pending, propagating]), 0.2);
  assert.match(error.message, /not within 0.2 s/);
  assert.match(error.likelyCause ?? '', /split horizon.*last seen: Challenge/);
});
Waiting('at its deadline it tells what only events tell', async () => {
  const event = { apiVersion: 'v1', kind: 'Event', metadata: { name: 'e' }, type: 'Warning' };
  const words = 'Failed to determine a valid solver configuration: no configured challenge solvers can be used';
  events = [
    { ...event, involvedObject: { kind: 'Pod' }, message: 'Back-off restarting failed container' },
    { ...event, involvedObject: { kind: 'Order' }, message: words },
  ];
  const error = await failure(over([issuing, asked, order({})]), 0.2);
  assert.is(error.output, words);
  assert.match(error.likelyCause ?? '', /^the issuer proves names of the domain only; last seen: CertificateRequest/);
});
Waiting.run();
