import { sendText } from '../answer.ts';
import type { Route } from '../route.ts';

/** What the API is, as OpenAPI 3.1: made when somebody asks, for brigd at rest has no memory for it. */
export const documentRoutes = (others: () => readonly Route[]): Route[] => {
  let text: Promise<string> | undefined;
  const make = async (): Promise<string> => {
    const { openapiOf } = await import('../openapi.ts');
    return `${JSON.stringify(openapiOf([...others(), ...own]))}\n`;
  };
  const own: Route[] = [
    {
      ...{ method: 'GET', path: '/openapi.json', summary: 'this document', cost: 5 },
      needs: { within: 'nothing: it says what the API is, and not what is there' },
      run: {
        raw: async ({ response }) => sendText(response, 200, await (text ??= make())),
      },
    },
  ];
  return own;
};
