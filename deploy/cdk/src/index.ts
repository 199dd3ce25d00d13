export * from './rollback';
export * from './settings';
