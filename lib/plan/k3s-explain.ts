import type { Explanation } from '../errors.ts';

/** What the output of a command on a node, or of an upload to one, means when it failed. */
export function explainK3s(output: string): Pick<Explanation, 'cause' | 'fix'> | undefined {
  return SIGNS.find(({ sign }) => sign.test(output))?.says;
}

const SIGNS: { sign: RegExp; says: { cause: string; fix: string } }[] = [
  {
    sign: /no space left on device/i,
    says: {
      cause: 'its disk is full',
      fix: 'make room there, or grow disk_gib in homelab.yaml and run provision; then run this again',
    },
  },
  {
    sign: /read-only file system/i,
    says: {
      cause: 'its root file system is mounted read-only',
      fix: 'often the disk failed: see `dmesg` there, mend it, boot it again, and run this again',
    },
  },
  {
    sign: /sha256 does not match/i,
    says: {
      cause: "what K3s's install script downloaded is not what its release says",
      fix: 'something on the way changes downloads (a proxy?); see that, and run this again',
    },
  },
  {
    sign: /could not resolve host|temporary failure in name resolution|download failed|failed to connect to|ssl_error|certificate verify failed|connection timed out/i,
    says: {
      cause: 'the node does not reach github.com, where K3s is downloaded from',
      fix: 'see its DNS and gateway; or bring the files from this machine: k3s.airgap in homelab.yaml',
    },
  },
  {
    sign: /etcdserver: request timed out|context deadline exceeded/i,
    says: { cause: 'etcd does not answer in time', fix: 'see that all servers run, and run this again' },
  },
  {
    sign: /a password is required|is not in the sudoers file/i,
    says: { cause: 'sudo wants a password', fix: 'put SUDO_PASSWORD into .env' },
  },
];
