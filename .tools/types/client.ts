// A client of the data API by its types alone. It is compiled, and never run: what is wrong in it is an error of tsc.
import { absent, granted, refused } from "./answers";
import type { components, paths } from "./cstproxy";

type Fetch = paths["/v1/clients/{clientId}/token"]["get"];
type Schemas = components["schemas"];

// Real answers are what the types say they are.
export const token: Fetch["responses"][200]["content"]["application/json"] = granted;
export const status: Schemas["Status"] = absent;
export const problem: Fetch["responses"][400]["content"]["application/problem+json"] = refused;

export const wish: Fetch["parameters"]["query"] = { minTtl: "2h" };

// state tells the one kind of status from the other.
export function tokenId(known: Schemas["Status"]): string | undefined {
  return known.state === "live" ? known.tokenId : undefined;
}

// A wait for each code that is retryable. What is not in the document can't be asked about.
export function retryable(code: Schemas["Code"]): boolean {
  // @ts-expect-error there is no such code
  if (code === "tired") return false;
  return code === "overloaded" || code === "portal_rate_limited";
}
