// Starts Swagger UI, and mends what it lacks for people who cannot see it.

window.addEventListener("load", () => {
  const place = document.getElementById("swagger-ui");

  function mend() {
    for (const select of place.querySelectorAll("select:not([aria-label])")) {
      select.setAttribute("aria-label", select.id === "servers" ? "Server" : "Example");
    }
    // A link inside a button: the button itself opens the call and names it in the address.
    for (const link of place.querySelectorAll("button a[href]")) link.removeAttribute("href");
    for (const pre of place.querySelectorAll("pre:not([tabindex])")) pre.setAttribute("tabindex", "0");
  }

  new MutationObserver(mend).observe(place, { childList: true, subtree: true });
  window.ui = SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    persistAuthorization: false,
    validatorUrl: null,
    syntaxHighlight: false, // its colours cannot be read by everybody
  });
});
