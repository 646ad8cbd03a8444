/** Of one layer's cache, without `past.` or `present.`. */
export const cacheNames = (layer: number): [key: string, value: string] => [`${layer}.key`, `${layer}.value`];
