// `/` goes to the search box from anywhere but a field that one types in.

export function slashFocuses(find) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.closest("input, select, textarea");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const box = find();
    if (!box) return;
    event.preventDefault();
    box.focus();
    box.select?.();
  });
}
