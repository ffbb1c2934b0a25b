/** Opens a session in `namespace`. Only the part that the pages use. */
export function io(namespace: string, options: object): Page.Socket;
