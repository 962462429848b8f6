/** Whether a name may be that of an unhashed parameter of a script. */
export type UnhashedNames = (repository: string, script: string, name: string) => boolean;
