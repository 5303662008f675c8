import { tellTenants } from '../tenants.ts';

tellTenants();
