/** Ours, in the User-Agent; openai's stands beside it in X-Stainless-Package-Version. */
export const VERSION = '0.1.0';
