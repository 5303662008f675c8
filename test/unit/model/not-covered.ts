/** Commands of the recordings that the model does not answer. The list may only get shorter. */
export const NOT_COVERED: Readonly<Record<string, readonly string[]>> = {};
