import { destroyAndImport } from './provision-destroy.ts';

const test = destroyAndImport('destroy and import, with the stand-in for Terraform', ['terraform', 'packer']);
test.run();
