import type { Explanation } from '../errors.ts';

/** What a text of Terraform or its provider means, and what to do about it. */
type Trouble = { says: RegExp; cause: (found: RegExpExecArray) => string; fix: (found: RegExpExecArray) => string };

const CHECK = 'npx tsx scripts/check.ts';
const AGAIN = 'run it again: what was made is imported and finished';

/** What a Terraform says that finds its state held by another. */
export const STATE_LOCK = /Error acquiring the state lock/;

/** The texts are those of Proxmox VE 9, bpg/proxmox 0.111 and Terraform 1.x; the first that fits a message counts. */
const TROUBLES: Trouble[] = [
  // Before the entries about connections: these texts hold such words too, and are not about Proxmox.
  {
    says: /Failed to query available provider packages|could not connect to registry|Could not retrieve the list of available versions/,
    cause: () =>
      "Terraform's registry could not be reached for the provider bpg/proxmox; nothing was changed on Proxmox",
    fix: () =>
      'give this machine a way to registry.terraform.io and github.com, or a mirror: terraform providers mirror DIR ' +
      'elsewhere, and provider_installation { filesystem_mirror { path = DIR } } in ~/.terraformrc here; then run it again',
  },
  {
    says: /Failed to load plugin schemas|failed to instantiate provider|Unrecognized remote plugin message/,
    cause: () => 'the provider bpg/proxmox does not start: it is for another machine, broken, or may not be executed',
    fix: () => "remove .terraform in the lab's .state/<lab>/terraform/, and run it again: it is fetched anew",
  },
  {
    says: /Plugin did not respond/,
    cause: () => 'the provider bpg/proxmox crashed; what was asked of Proxmox may have been done all the same',
    fix: () => AGAIN,
  },
  {
    says: /doesn't match any of the checksums/,
    cause: () => 'the provider that was found is not the one that .terraform.lock.hcl names by its hashes',
    fix: () =>
      'for another platform, terraform -chdir=terraform providers lock -platform=… adds its hashes; else find out whose it is',
  },
  {
    says: /Permission check failed \(([^,)]+), ([^)]+)\)/,
    cause: ([, path, privilege]) => `the token (or its owner) lacks the privilege ${privilege} on ${path}`,
    fix: () => `${CHECK} --role prints the role and the commands that grant it`,
  },
  {
    says: /HTTP 403\b/,
    cause: () => 'the token (or its owner) may not do that',
    fix: () => `${CHECK} --role prints the role that it needs`,
  },
  {
    says: /HTTP 401\b|invalid token|no such user/,
    cause: () => 'Proxmox does not know the token, or its secret is another one',
    fix: () => `look at proxmox.token_id and PROXMOX_TOKEN_SECRET; ${CHECK} --role prints how a token is made`,
  },
  {
    says: /can't lock file '([^']*?lock-(\d+)\.conf)' - got timeout/,
    cause: ([, , vmid]) => `something else was at work on VM ${vmid}, and held its lock too long`,
    fix: () => AGAIN,
  },
  {
    says: /can't lock file '([^']+)' - got timeout|cfs-lock '([^']+)' error/,
    cause: ([, file, lock]) => `Proxmox was busy: ${file ?? lock} was held too long`,
    fix: () => AGAIN,
  },
  {
    says: /VM is locked \(([\w-]+)\)|configuration to become unlocked/,
    cause: ([, lock = 'by a task']) => `a task of Proxmox works on the VM, or was killed (lock: ${lock})`,
    fix: () => 'wait for it, then run it again; when there is none, qm unlock VMID on its node',
  },
  {
    says: /out of space|No space left on device|(?:not enough|insufficient) free space|no free (?:space|extents)/i,
    cause: () => 'a storage is full',
    fix: () => 'make room on it, or give the VM another storage in homelab.yaml; then run it again',
  },
  {
    // On another node the clone's task fails, when it wants to write the VM's file.
    says: /(?:VM|CT) (\d+) already exists|unable to create VM (\d+)[\s\S]*?already exists|config file already exists|\/(\d+)\.conf' failed: File exists/,
    cause: ([, a, b, c]) =>
      `the VMID${(a ?? b ?? c) ? ` ${a ?? b ?? c}` : ''} was taken by somebody else while this ran`,
    fix: () => 'run it again: it names who has it; nothing of theirs was touched',
  },
  {
    says: /HTTP (59[5-9]|50[234])\b|Connection refused \(59\d\)/,
    cause: ([, code = '595']) => `a Proxmox node could not be reached through the one that was asked (${code})`,
    fix: () => `see that every node is up (${CHECK} --preflight), then run it again`,
  },
  {
    says: /x509: |failed to verify certificate|certificate (?:has expired|signed by)/,
    cause: () => "the API's certificate is not of proxmox.ca_file: it was renewed, or another machine answers",
    fix: () => 'copy /etc/pve/pve-root-ca.pem from a node anew, once you know that the change was yours',
  },
  {
    says: /dial tcp ([\w.:[\]-]+): .*?(connection refused|i\/o timeout|no route to host|network is unreachable)/i,
    cause: ([, address, why]) => `the Proxmox API at ${address} did not answer (${why?.toLowerCase()})`,
    fix: () => `see that the node is up (${CHECK} --preflight), then run it again`,
  },
  {
    says: /connection reset by peer|unexpected EOF|: EOF\b|broken pipe|TLS handshake timeout/,
    cause: () => 'the connection to the Proxmox API broke; what was asked may have been done all the same',
    fix: () => 'run it again: it looks first, and repeats nothing that was done',
  },
  {
    says: STATE_LOCK,
    cause: () => "another Terraform works with this lab's state",
    fix: () => 'wait for its end; when none runs: terraform force-unlock with the ID above',
  },
  {
    says: /PCI device mapping not found for '([^']+)'/,
    cause: ([, name]) => `the resource mapping ${name} has no device on that node`,
    fix: () => 'Datacenter → Resource Mappings',
  },
  {
    says: /Configuration file 'nodes\/([^/']+)\/qemu-server\/(\d+)\.conf' does not exist|unable to find configuration file for VM (\d+) on node '([^']+)'/,
    cause: ([, node, vmid, other, there]) => `VM or template ${vmid ?? other} is not on ${node ?? there} any more`,
    fix: () => 'npx tsx scripts/build-template.ts, when it was a template; then run it again',
  },
  {
    says: /storage '([^']+)' (?:is not available on node|does not exist|is not online)/,
    cause: ([, name]) => `the storage ${name} is not there, or not active, on that node`,
    fix: () => 'Datacenter → Storage; or correct storage in homelab.yaml',
  },
  {
    says: /[Cc]annot allocate memory|not enough memory/,
    cause: () => 'the Proxmox node has not enough free memory to start the VM',
    fix: () => 'stop another VM there, or lower memory_gib',
  },
  {
    says: /Cannot shrink|shrinking disks is not supported|lower than current size/,
    cause: () => 'disk_gib is smaller than the disk is, and Proxmox cannot shrink one',
    fix: () => 'set disk_gib to the size that it has',
  },
  {
    says: /timeout while waiting for (?:task|the VM|VM)|got timeout/,
    cause: () => 'a task of Proxmox took longer than Terraform waits',
    fix: () => `look at its log in Proxmox (Tasks); then ${AGAIN}`,
  },
  {
    says: /Saved plan is stale/,
    cause: () => "Terraform's state was changed by somebody else between plan and apply",
    fix: () => 'run it again',
  },
];

/**
 * The probable causes of what Terraform said when it failed, and what to do: several, when several VMs failed for
 * different reasons. Undefined for what is not known here; its own words have to do then.
 */
export function terraformTrouble(output: string): Pick<Explanation, 'cause' | 'fix'> | undefined {
  const found = messagesOf(output).flatMap((message) => {
    for (const { says, cause, fix } of TROUBLES) {
      const match = says.exec(message);
      if (match) return [{ cause: cause(match), fix: fix(match) }];
    }
    return [];
  });
  if (found.length === 0) return undefined;
  const once = (texts: string[]): string => [...new Set(texts)].slice(0, 3).join('; ');
  return { cause: once(found.map(({ cause }) => cause)), fix: once(found.map(({ fix }) => fix)) };
}

/** One text an error, on one line: Terraform breaks lines where it likes, and draws a frame around each. */
function messagesOf(output: string): string[] {
  const plain = output.replaceAll(/^[ \t]*[│╷╵|][ \t]?/gm, '').replaceAll(/\s+/g, ' ');
  const errors = plain.split(/(?=Error: )/).filter((part) => part.startsWith('Error: '));
  return errors.length > 0 ? errors : [plain];
}
