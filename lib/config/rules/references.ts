import { suggestion } from '../../suggest.ts';
import { CLIENT_GROUPS } from '../clients.ts';
import type { ConfigProblem } from '../load.ts';
import type { Config } from '../schema.ts';

type Path = (string | number)[];
type Content = Config['proxmox']['storages'][number]['content'][number];

/** Names that must be those of something else in homelab.yaml. */
export function referenceProblems(config: Config): ConfigProblem[] {
  const { k3s, template, nas, proxmox, network } = config;
  const proxmoxNodes = proxmox.nodes.map(({ name }) => name);
  const hosts = [...proxmox.nodes, ...k3s.nodes, ...network.hosts, ...nas].map(({ name }) => name);
  const clients = [...Object.keys(CLIENT_GROUPS), ...hosts];
  return [
    ...unknown('Proxmox node', template.build_node, proxmoxNodes, ['template', 'build_node']),
    ...storage(config, template.storage, 'images', ['template', 'storage']),
    ...storage(config, template.iso.storage, 'iso', ['template', 'iso', 'storage']),
    ...k3s.nodes.flatMap(({ node, storage: name }, i) => [
      ...unknown('Proxmox node', node, proxmoxNodes, ['k3s', 'nodes', i, 'node']),
      ...(name === undefined ? [] : storage(config, name, 'images', ['k3s', 'nodes', i, 'storage'])),
    ]),
    ...firstServer(config),
    ...nas.flatMap(({ exports }, i) =>
      exports.flatMap((one, j) =>
        one.clients.flatMap((client, c) => unknown('host', client, clients, ['nas', i, 'exports', j, 'clients', c])),
      ),
    ),
  ];
}

/** Nothing when `name` is one of `known`. */
function unknown(what: string, name: string, known: readonly string[], path: Path): ConfigProblem[] {
  if (known.includes(name)) return [];
  return [{ path, message: `there is no ${what} "${name}"`, fix: suggestion(name, known) }];
}

function storage({ proxmox }: Config, name: string, content: Content, path: Path): ConfigProblem[] {
  const found = proxmox.storages.find((one) => one.name === name);
  if (!found) return unknown('storage', name, namesOf(proxmox.storages), path);
  if (found.content.includes(content)) return [];
  const fitting = namesOf(proxmox.storages.filter((one) => one.content.includes(content)));
  return [
    {
      path,
      message: `the storage ${name} holds no ${content} (its content: ${found.content.join(', ')})`,
      fix: fitting.length > 0 ? `take ${fitting.join(' or ')}` : `add ${content} to its content`,
    },
  ];
}

function firstServer({ k3s }: Config): ConfigProblem[] {
  const path = ['k3s', 'first_server'];
  const servers = namesOf(k3s.nodes.filter(({ role }) => role === 'server'));
  const node = k3s.nodes.find(({ name }) => name === k3s.first_server);
  if (node?.role === 'agent')
    return [
      {
        path,
        message: `${node.name} is an agent, and cannot start a cluster`,
        fix: servers.length > 0 ? `take a server: ${servers.join(', ')}` : 'give a node the role server',
      },
    ];
  return unknown('server', k3s.first_server, servers, path);
}

function namesOf(list: readonly { name: string }[]): string[] {
  return list.map(({ name }) => name);
}
