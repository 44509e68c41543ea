// Who is signed in: the token is typed once and kept for this tab alone.

const KEPT = "token";

export const keptToken = () => sessionStorage.getItem(KEPT);
export const keepToken = (token) => sessionStorage.setItem(KEPT, token);
export const forgetToken = () => sessionStorage.removeItem(KEPT);

// What the token says of its bearer, for display: whether it is worth anything, the service says.
export function bearer(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return { subject: String(claims.sub ?? ""), scopes: String(claims.scope ?? "").split(" ") };
  } catch {
    return { subject: "", scopes: [] };
  }
}

export const mayAct = (person) => person.scopes.includes("operations:act");
