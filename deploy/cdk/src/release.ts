import * as fs from 'fs';
import * as path from 'path';
import { Token } from 'aws-cdk-lib';
import { createHash } from 'crypto';
import { Yaml } from './yaml';
import { OTHERS, SETTINGS, VERSION } from './settings';
