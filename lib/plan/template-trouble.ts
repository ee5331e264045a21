import type { Explanation } from '../errors.ts';
import { packerTrouble } from './packer-trouble.ts';

type Trouble = Pick<Explanation, 'cause' | 'fix'>;

/** What Proxmox or Packer said, and what it means. The first that fits is told. */
const KNOWN: [RegExp, Trouble][] = [
  [
    /checksum mismatch: got/,
    {
      cause: 'the ISO that was fetched is not the one that homelab.yaml describes; Proxmox kept nothing of it',
      fix: "compare template.iso.sha256 with the publisher's SHA256SUMS; a new point release has another url and another sum",
    },
  ],
  [
    /download failed|download of .* failed/,
    {
      cause: 'the Proxmox node could not fetch the ISO',
      fix: 'see that template.iso.url exists, and that the node resolves and reaches it (a proxy: Datacenter → Options → HTTP proxy)',
    },
  ],
  [
    /No space left on device|out of space|not enough free space|size is greater than available space/i,
    { cause: 'a storage is full', fix: 'make room: npx tsx scripts/build-template.ts --prune lists old templates' },
  ],
  [
    /(config file|VM \d+) already exists|File exists/,
    { cause: 'somebody took that VMID meanwhile', fix: 'run it again: it takes the next one that is free' },
  ],
  [
    /Timeout waiting for SSH/,
    {
      cause:
        'the installed system never answered: the installer waits for an answer, its VLAN has no DHCP, or this machine does not reach it',
      fix: 'look at the console of the VM while Packer waits; slow hardware wants longer boot_wait and boot_pause (packer/variables.pkr.hcl)',
    },
  ],
  [
    /unable to authenticate|handshake failed/,
    {
      cause: 'the VM answers, but does not take the key of ssh.key',
      fix: 'is the .pub beside ssh.key its public half, and is the key without a passphrase?',
    },
  ],
  [
    /supported CD ISO creation command/,
    { fix: 'install xorriso (Debian, Ubuntu: sudo apt-get install xorriso; macOS has hdiutil)' },
  ],
  [
    /Unsupported (argument|block|attribute)|Argument or block definition required|Invalid (expression|block definition)|Duplicate variable|Undefined variable|Unset variable/,
    {
      cause: 'the HCL is not what this Packer and its plugin understand',
      fix: 'is packer/ (or HOMELAB_PACKER_DIR) as it was committed? git diff packer',
    },
  ],
];

/** What build-template knows of the output of Packer, or of Proxmox's words; undefined: nothing. */
export function templateTrouble(output: string): Trouble | undefined {
  return packerTrouble(output) ?? KNOWN.find(([said]) => said.test(output))?.[1];
}
