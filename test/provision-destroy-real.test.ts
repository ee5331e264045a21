import { destroyAndImport } from './provision-destroy.ts';
import { terraformMissing } from './provision-faults.ts';

const test = destroyAndImport('destroy and import, with the real Terraform', ['packer'], await terraformMissing());
test.run();
